"""The measurement of learning: its record with training and evaluation made up, and once for real on a tiny corpus."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_evaluation import made_up_evaluation

from mas_ray.config import codec
from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.config.ingest import SplitBySubject
from mas_ray.config.jobs import LearnJob, Workers
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.evaluation.record import read_evaluation
from mas_ray.pipelines import learn as pipeline
from mas_ray.pipelines.learn import Learning, LearningDataset
from mas_ray.pipelines.run_folder import CascadeResult, StageResult

STAGES = ("torso", "limbs")


@pytest.fixture
def jobs(monkeypatch, tmp_path) -> list:
    """The train and evaluate jobs; seed k has an MPJPE of 90 + k mm, and the first stage one of 200 mm."""
    seen: list = []

    def train(job):
        seen.append(job)
        run = Path(job.storage) / job.name
        run.mkdir(parents=True, exist_ok=True)
        (run / "cascade.json").touch()
        stages = [StageResult(stage=name, checkpoint=f"{name}/best", validation_reconstruction=1.0) for name in STAGES]
        return CascadeResult(checkpoint=stages[-1].checkpoint, stages=tuple(stages))

    def evaluate(job):
        seen.append(job)
        seed = int(Path(job.output).parent.name.removeprefix("seed"))
        return made_up_evaluation(mpjpe_mm=200.0 if "torso" in job.checkpoint else 90.0 + seed)

    dataset = LearningDataset(manifest=tmp_path / "m.json", annotations=tmp_path / "a")
    monkeypatch.setattr(pipeline, "learning_dataset", lambda job: dataset)
    monkeypatch.setattr(pipeline, "train", train)
    monkeypatch.setattr(pipeline, "evaluate", evaluate)
    return seen


def _job(tmp_path: Path, **changes) -> LearnJob:
    (tmp_path / "learn" / "easy").mkdir(parents=True, exist_ok=True)
    (tmp_path / "learn" / "hard").mkdir(parents=True, exist_ok=True)
    return LearnJob(output=str(tmp_path / "learn"), **changes)


def test_every_stage_of_every_seed_is_evaluated_on_the_test_split(jobs, tmp_path):
    pipeline.learn(_job(tmp_path, seeds=(0, 3)))
    folder = tmp_path / "learn" / "easy"
    for seed, (train, *evaluations) in zip((0, 3), (jobs[:3], jobs[3:]), strict=True):
        assert train.cascade == replace(cpu_cascade(), seed=seed)
        assert (train.storage, train.name) == (str(folder / "runs"), f"seed{seed}")
        assert [job.output for job in evaluations] == [str(folder / f"seed{seed}" / name) for name in STAGES]
        assert {job.split for job in evaluations} == {"test"}
        assert evaluations[1].checkpoint == str(folder / "runs" / f"seed{seed}" / "limbs" / "best")


@pytest.mark.usefixtures("jobs")
def test_bars_are_of_the_last_stage_and_the_record_can_be_read(tmp_path):
    learning = pipeline.learn(_job(tmp_path, seeds=(0, 7)))
    path = tmp_path / "learn" / "easy" / "learn.json"
    assert codec.loads(Learning, path.read_text(), str(path)) == learning
    first, second = learning.seeds
    assert all(bar.met for bar in first.bars)
    assert [bar.figure for bar in second.bars if not bar.met] == ["MPJPE, triangulated, raw, mm"]
    assert [stage.stage for stage in first.stages] == list(STAGES)
    assert [stage.under[0].figures.mpjpe_mm for stage in first.stages] == [200.0, 90.0]


@pytest.mark.usefixtures("jobs")
def test_the_spread_is_of_the_last_stage_over_seeds(tmp_path):
    spread = {(each.handling, each.figure): each for each in pipeline.learn(_job(tmp_path, seeds=(0, 1, 5))).spread}
    assert len(spread) == 3 * 8 + 2
    mpjpe = spread["raw", "mpjpe_mm"]
    assert (mpjpe.mean, mpjpe.lowest, mpjpe.highest) == (92.0, 90.0, 95.0)
    assert spread[None, "knee_chirality_mm"].mean == 12.0
    assert pipeline.learn(_job(tmp_path)).spread == ()


@pytest.mark.usefixtures("jobs")
def test_the_hard_variant_has_no_bars(tmp_path):
    learning = pipeline.learn(_job(tmp_path, front_cue="hard"))
    assert learning.seeds[0].bars == ()
    assert (tmp_path / "learn" / "hard" / "learn.json").is_file()


def _clock(monkeypatch, *ticks: float) -> None:
    times = iter(ticks)
    monkeypatch.setattr(pipeline.time, "monotonic", lambda: next(times))


@pytest.mark.usefixtures("jobs")
def test_the_time_of_training_is_kept_over_interruptions_and_later_calls(tmp_path, monkeypatch):
    train = pipeline.train

    def interrupted(job):
        (Path(job.storage) / job.name).mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "train", interrupted)
    _clock(monkeypatch, 100.0, 140.0)
    with pytest.raises(KeyboardInterrupt):
        pipeline.learn(_job(tmp_path))
    monkeypatch.setattr(pipeline, "train", train)
    _clock(monkeypatch, 500.0, 560.0)
    assert pipeline.learn(_job(tmp_path)).seeds[0].training_s == 100.0
    _clock(monkeypatch)  # nothing is timed any more
    assert pipeline.learn(_job(tmp_path)).seeds[0].training_s == 100.0


@pytest.mark.usefixtures("jobs")
def test_what_was_trained_without_a_clock_has_no_time(tmp_path):
    job = _job(tmp_path)
    (tmp_path / "learn" / "easy" / "runs" / "seed0").mkdir(parents=True)
    assert pipeline.learn(job).seeds[0].training_s is None


@pytest.mark.parametrize("seeds", [(), (1, 1), (-1,)])
def test_seeds_differ(seeds):
    with pytest.raises(ValueError, match=r"^seeds: expected different numbers of at least 0, got"):
        LearnJob(seeds=seeds)


def _recipe() -> CascadeConfig:
    """One epoch of a step in a first and in a taught stage."""
    torso, _, limbs = cpu_cascade().stages
    stages = tuple(replace(stage, learning_rates=((1, 2e-3),)) for stage in (torso, limbs))
    return replace(cpu_cascade(), stages=stages, steps_per_epoch=1)


@pytest.mark.slow
@pytest.mark.ray
def test_from_nothing_to_figures(tmp_path, monkeypatch):
    config = SyntheticConfig(
        num_subjects=3, takes_per_subject=1, instants_per_take=6, width_px=128, height_px=128, write_masks=True
    )
    monkeypatch.setattr(pipeline, "learning_corpus", lambda front_cue: replace(config, front_cue=front_cue))
    monkeypatch.setattr(pipeline, "LEARNING_SPLIT", SplitBySubject(validation=("s01",), test=("s02",)))
    monkeypatch.setattr(pipeline, "cpu_cascade", _recipe)
    job = LearnJob(output=str(tmp_path / "learn"), seeds=(0,), workers=Workers(num=1))
    learning = pipeline.learn(job)
    folder = tmp_path / "learn" / "easy"
    (seed,) = learning.seeds
    for stage in seed.stages:
        evaluation = read_evaluation(folder / "seed0" / stage.stage / "evaluation.json")
        assert (evaluation.source, evaluation.ambiguity_ratio) == (stage.source, stage.ambiguity_ratio)
        assert evaluation.source.num_frame_sets == 6
        assert not evaluation.source.takes_also_trained_on
    assert [stage.stage for stage in seed.stages] == ["torso", "limbs"]
    assert json.loads((folder / "learn.json").read_text())["format"] == pipeline.FORMAT
    networks = [path.stat().st_mtime_ns for path in sorted(folder.glob("runs/**/model.pt"))]
    assert pipeline.learn(job) == learning
    assert networks == [path.stat().st_mtime_ns for path in sorted(folder.glob("runs/**/model.pt"))]
