from __future__ import annotations

import pytest
from made_up_evaluation import made_up_evaluation

from mas_ray.cli.learn import run
from mas_ray.config.jobs import LearnJob, Workers
from mas_ray.evaluation.bars import BARS
from mas_ray.evaluation.left_right import HANDLINGS
from mas_ray.evaluation.summary import summarise
from mas_ray.pipelines import learn as pipeline
from mas_ray.pipelines.learn import FORMAT, HandledSummary, Learning, SeedMeasurement, Spread, StageMeasurement


def _seed(number: int, **figures: float) -> SeedMeasurement:
    evaluation = made_up_evaluation(**figures)  # pyright: ignore[reportArgumentType]
    stages = tuple(
        StageMeasurement(
            stage=name,
            source=evaluation.source,
            ambiguity_ratio=evaluation.ambiguity_ratio,
            knee_chirality=evaluation.knee_chirality_of_takes,
            under=tuple(HandledSummary(handling=name, figures=summarise(evaluation, name)) for name in HANDLINGS),
        )
        for name in ("torso", "limbs")
    )
    return SeedMeasurement(
        seed=number,
        training_s=840.0 if number == 0 else None,
        stages=stages,
        bars=tuple(bar.outcome(evaluation) for bar in BARS),
    )


@pytest.fixture
def measured(monkeypatch) -> list[LearnJob]:
    """The jobs that would have run. A job's record has its seeds, each with an MPJPE of its own."""
    seen: list[LearnJob] = []

    def learn(job: LearnJob) -> Learning:
        seen.append(job)
        seeds = tuple(_seed(number, mpjpe_mm=94.0 + number) for number in job.seeds)
        spread = (Spread(handling="raw", figure="mpjpe_mm", mean=94.5, lowest=94.0, highest=96.0),)
        return Learning(format=FORMAT, job=job, seeds=seeds, spread=spread if len(seeds) > 1 else ())

    monkeypatch.setattr(pipeline, "learn", learn)
    return seen


def test_flags_make_a_job(measured):
    run(["--output", "there", "--front-cue", "hard", "--seeds", "0", "1", "2", "--workers", "4"])
    run([])
    assert measured == [
        LearnJob(output="there", front_cue="hard", seeds=(0, 1, 2), workers=Workers(num=4)),
        LearnJob(output="learn", front_cue="easy", seeds=(0,), workers=Workers(num=2)),
    ]


@pytest.mark.usefixtures("measured")
def test_the_figures_of_every_stage_stand_in_line(capsys):
    assert run([]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("  stage"))
    table = lines[start : start + 7]
    assert table[1].split() == [
        *("torso", "raw", "3.50", "2.50", "2.50", "6.00", "94.0", "80.0", "150.0", "110.0", "0.050"),
        *("12.0", "±", "1.5"),
    ]
    names = [line.partition("3.50")[0].split() for line in table[4:]]
    assert names == [["limbs", "raw"], ["global", "bit"], ["oracle"]]
    assert len(table[0]) == len(table[1]) == len(table[4])
    assert "8 of 8 bars met" in out
    assert "MISSED" not in out
    assert "over seeds" not in out
    assert "seed 0: runs/it, trained in 14.0 min\n" in out


@pytest.mark.usefixtures("measured")
def test_a_missed_bar_is_said_and_no_error(capsys):
    assert run(["--seeds", "0", "2"]) == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if "MISSED" in line]
    assert line.split() == ["MISSED", "MPJPE,", "triangulated,", "raw,", "mm", "96.00", "at", "most", "95"]
    assert "7 of 8 bars met" in out
    assert "seed 2: runs/it\n" in out
    spread = out[out.index("last stage over seeds 0, 2") :].splitlines()
    assert spread[2].split() == ["raw", "mean", "-", "-", "-", "-", "94.5", *"-" * 5]
    assert spread[4].split()[:6] == ["max", "-", "-", "-", "-", "96.0"]


@pytest.mark.usefixtures("measured")
def test_the_hard_variant_says_that_it_has_no_bars(capsys):
    assert run(["--front-cue", "hard"]) == 0
    assert "no bars are set for the hard front cue" in capsys.readouterr().out
