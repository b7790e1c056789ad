from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mas_ray.checkpoint import Progress, load_checkpoint
from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.config.jobs import Execution, TrainJob
from mas_ray.config.yardstick import Yardstick
from mas_ray.pipelines.worker import _by_yardstick, _place, _resume, _save, _summarise, _told, tell_again
from mas_ray.shards.manifest import read_manifest
from mas_ray.skeleton import H36M_18
from mas_ray.tracking.spool import read_lines
from mas_ray.training.bad_steps import BadStep, BadStepError
from mas_ray.training.data import open_split
from mas_ray.training.loop import StepMetrics, Worker, run_stage
from mas_ray.training.state import create_state

CPU = torch.device("cpu")


def _job(**options) -> TrainJob:
    return TrainJob(manifest="m.json", storage="runs", cascade=cpu_cascade(), **options)


def test_a_step_is_computed_as_the_job_says():
    """Whatever it says, the optimiser goes on with the same parameters and checkpoints keep their names."""
    for execution in (Execution(), Execution(precision="bfloat16", compile=True)):
        job = _job(execution=execution)
        state = create_state(job.cascade, H36M_18, CPU)
        before, names = [id(p) for p in state.detector.parameters()], list(state.detector.state_dict())
        objective = _place(state.trained, job.cascade.stages[1], job, CPU)
        assert objective.precision == execution.precision
        assert (objective.detector.features._compiled_call_impl is not None) == execution.compile
        assert [id(p) for p in objective.detector.parameters()] == before
        assert list(objective.detector.state_dict()) == names


BAD = BadStep(
    stage="torso",
    step=7,
    reason="loss is not finite",
    single_view=False,
    rows=(4,),
    frame_sets=(("s00", 9),),
    losses={"total": float("nan")},
)


def _step(step: int, total: float, bad_step: BadStep | None = None) -> StepMetrics:
    return StepMetrics(
        step=step,
        epoch=0,
        ends_epoch=False,
        losses={"total": total},
        gradient_norm=total,
        learning_rate=1e-3,
        num_images=8,
        data_wait_s=0.5,
        seconds=1.0,
        bad_step=bad_step,
    )


def test_a_report_is_of_the_steps_that_were_taken():
    nan = float("nan")
    report = _summarise([_step(0, 1.0), _step(1, nan, BAD), _step(2, 2.0), _step(3, 6.0)], "torso", 0.5, 2)
    assert report["loss/total"] == report["gradient_norm"] == 3.0
    assert report["loss_peak"] == 3.0
    assert report["skipped_steps"] == 1.0
    assert report["images_per_s"] == 16.0
    assert report["step"] == 3


def _failing(steps: list[StepMetrics]) -> Iterator[StepMetrics]:
    yield from steps
    raise BadStepError(BAD)


@pytest.mark.parametrize("rank", [0, 1])
def test_bad_steps_are_told_by_one_worker_before_the_stage_stops(tmp_path: Path, rank: int):
    skipped = _step(3, float("nan"), BadStep(**{**BAD.__dict__, "step": 3}))
    told = _told(_failing([_step(2, 1.0), skipped]), tmp_path, Worker(rank=rank, world_size=2))
    assert next(told).bad_step is None
    assert list(tmp_path.iterdir()) == []
    next(told)
    with pytest.raises(BadStepError):
        next(told)
    if rank == 1:
        assert list(tmp_path.iterdir()) == []
        return
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad_step_000003.json", "bad_step_000007.json"]
    record = json.loads((tmp_path / "bad_step_000007.json").read_text())
    assert record == {
        "stage": "torso",
        "step": 7,
        "reason": "loss is not finite",
        "split": "train",
        "frame_sets": [{"row": 4, "take": "s00", "instant": 9}],
        "losses": {"total": "nan"},
    }


def _trained(cascade: CascadeConfig, dataset, stage: int = 1):
    data = open_split(dataset.manifest.parent, read_manifest(dataset.manifest), "train", cascade)
    state = create_state(cascade, H36M_18, CPU)

    def steps() -> Iterator[StepMetrics]:
        objective = _place(state.trained, cascade.stages[stage], _job(), CPU)
        return run_stage(state, objective, data, cascade=cascade, stage=stage)

    return state, steps


def test_a_yardstick_is_reported_by_jobs_that_have_one(tiny_dataset):
    held_out = open_split(
        tiny_dataset.manifest.parent, read_manifest(tiny_dataset.manifest), "validation", cpu_cascade()
    )
    state = create_state(cpu_cascade(), H36M_18, CPU)
    kept = _place(state.kept, cpu_cascade().stages[0], _job(), CPU)
    assert _by_yardstick(_job(), kept, held_out, Worker()) == {}
    measured = _by_yardstick(_job(yardstick=Yardstick()), kept, held_out, Worker())
    assert set(measured) == {
        f"yardstick/{name}" for name in ("skeleton_mask", "physique_iou", "reprojection", "equivariance", "score")
    }


def _short(**options) -> CascadeConfig:
    stages = tuple(replace(stage, learning_rates=((2, 2e-3),)) for stage in cpu_cascade().stages)
    return replace(cpu_cascade(), stages=stages, steps_per_epoch=2, **options)


@pytest.mark.parametrize("weight_average", [0.0, 0.9])
def test_a_saved_epoch_is_gone_on_from_as_if_nothing_had_been(tmp_path, tiny_dataset, weight_average):
    """Losses, weights and their average are those of an undisturbed run, bit for bit."""
    cascade = _short(weight_average=weight_average)
    undisturbed, steps = _trained(cascade, tiny_dataset)
    trace = []
    for metrics in steps():
        trace.append(metrics.losses)
        if metrics.ends_epoch and metrics.epoch == 0:
            progress = Progress(
                stage=1, stage_name="shape_prior", num_epochs=1, num_steps=2, validation_reconstruction=0.5
            )
            _save(tmp_path, replace(_job(), cascade=cascade), undisturbed, progress)
    resumed, steps = _trained(cascade, tiny_dataset)
    _resume(resumed, tmp_path)
    assert [metrics.losses for metrics in steps()] == trace[2:]
    for ours, theirs in ((resumed.trained, undisturbed.trained), (resumed.kept, undisturbed.kept)):
        for network in ("detector", "shape_prior"):
            expected = getattr(theirs, network).state_dict()
            for name, tensor in getattr(ours, network).state_dict().items():
                assert torch.equal(tensor, expected[name]), name


def test_a_checkpoint_predicts_with_the_average(tmp_path, tiny_dataset):
    cascade = _short(weight_average=0.9)
    state, steps = _trained(cascade, tiny_dataset)
    list(steps())
    progress = Progress(stage=1, stage_name="shape_prior", num_epochs=2, num_steps=4, validation_reconstruction=0.5)
    _save(tmp_path, replace(_job(), cascade=cascade), state, progress)
    assert state.average is not None
    saved = load_checkpoint(tmp_path).detector
    for name, tensor in state.average.detector.state_dict().items():
        assert torch.equal(saved[name], tensor)
    assert any(not torch.equal(saved[name], tensor) for name, tensor in state.detector.state_dict().items())


def test_an_epoch_that_was_checkpointed_and_never_told_is_told_once(tmp_path):
    spool, checkpoint = tmp_path / "metrics.jsonl", tmp_path / "checkpoint"
    checkpoint.mkdir()
    spool.write_text('{"epoch": 0, "loss/total": 3.0}\n')
    tell_again(checkpoint / "report.json", spool)  # of an older version: it has no report
    assert [line["epoch"] for line in read_lines(spool)] == [0]
    (checkpoint / "report.json").write_text('{"epoch": 1, "loss/total": 2.0}')
    for _ in range(2):
        tell_again(checkpoint / "report.json", spool)
    assert [(line["epoch"], line["loss/total"]) for line in read_lines(spool)] == [(0, 3.0), (1, 2.0)]
