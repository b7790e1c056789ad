"""The tables of benchmarks/yardstick.py, of run folders that are made up."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from mas_ray.checkpoint import Progress
from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.jobs import TrainJob
from mas_ray.config.yardstick import Yardstick
from mas_ray.pipelines.run_folder import CascadeResult

WIDTHS = (0.04, 0.05, 0.06, 0.07, 0.08)


@pytest.fixture
def study(monkeypatch):
    """The program as a module."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("yardstick")


def _trial(sweep: Path, number: int, width: float, *, is_finished: bool = True, **options) -> None:
    """The run folder of a trial that hands on its second epoch of three: the wider its bones, the higher the score."""
    limbs = replace(cpu_cascade().stages[2], bone_width=width)
    name = f"t{number}"
    job = TrainJob(
        manifest="m.json",
        storage=str(sweep / "trials"),
        name=name,
        cascade=replace(cpu_cascade(), stages=(replace(limbs, teacher=None, anchor="stick"),)),
        **{"yardstick": Yardstick(), **options},
    )
    run = sweep / "trials" / name
    checkpoint = run / "stages" / "0-limbs" / "limbs-epoch0002"
    checkpoint.mkdir(parents=True)
    (run / "job.json").write_text(codec.dumps(job))
    if is_finished:
        result = CascadeResult(checkpoint=str(checkpoint.relative_to(run)), stages=())
        (run / "cascade.json").write_text(codec.dumps(result))
    progress = Progress(stage=0, stage_name="limbs", num_epochs=2, num_steps=4, validation_reconstruction=1.0)
    (checkpoint / "progress.json").write_text(codec.dumps(progress))
    with (checkpoint.parent / "metrics.jsonl").open("w") as file:
        for epoch, score in enumerate((9.0, width, 8.0)):
            terms = {"yardstick/score": score, "yardstick/skeleton_mask": score, "yardstick/equivariance": 0.5}
            terms = terms if job.yardstick else {}
            file.write(json.dumps({"epoch": epoch, "validation/reconstruction": 1.0 - score, **terms}) + "\n")


def test_terms_are_of_the_checkpoint_and_ranked_against_errors(study, tmp_path):
    for number, width in enumerate(WIDTHS):
        _trial(tmp_path, number, width)
    _trial(tmp_path, 5, 0.09, is_finished=False)
    _trial(tmp_path, 6, 0.10, yardstick=None)
    trials, left_out = study.read_trials(tmp_path)
    assert [trial.name for trial in trials] == ["t0", "t1", "t2", "t3", "t4"]
    assert [Path(reason.split(":")[0]).relative_to(tmp_path).as_posix() for reason in left_out] == [
        "trials/t5/cascade.json",
        "trials/t6/stages/0-limbs/metrics.jsonl",
    ]

    errors = [{"MPJPE": 1000.0 * width, "2D %": None} for width in WIDTHS]
    header, first, *_ = study.trial_rows(trials, errors)
    assert header[:3] == ["trial", "limbs.bone_width", "score"]
    assert dict(zip(header, first, strict=True)) == {
        "trial": "t0",
        "limbs.bone_width": "0.04",
        "score": "0.0400",
        "skeleton_mask": "0.0400",
        "physique_iou": "-",
        "reprojection": "-",
        "equivariance": "0.5000",
        "own held-out loss": "0.9600",
        "MPJPE": "40.00",
        "2D %": "-",
    }

    header, *rows = study.correlation_rows(trials, errors)
    assert header == ["ρ (95 %)", "MPJPE", "2D %"]
    cells = {term: of_errors for term, *of_errors in rows}
    assert cells["score"] == ["+1.00 (+1.00 to +1.00)", "-"]
    assert cells["own held-out loss"] == ["-1.00 (-1.00 to -1.00)", "-"]
    assert cells["physique_iou"] == cells["equivariance"] == ["-", "-"]  # not measured; always the same


def test_different_yardsticks_do_not_compare(study, tmp_path):
    with pytest.raises(ValueError, match="no finished trial with a yardstick; no runs"):
        study.read_trials(tmp_path)
    _trial(tmp_path, 0, 0.05)
    _trial(tmp_path, 1, 0.06, yardstick=Yardstick(bone_width=0.07))
    with pytest.raises(ValueError, match="measured by different yardsticks"):
        study.read_trials(tmp_path)
