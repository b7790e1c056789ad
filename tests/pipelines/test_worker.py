from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.jobs import Execution, TrainJob
from mas_ray.pipelines.worker import _place, _summarise, _told
from mas_ray.skeleton import H36M_18
from mas_ray.training.bad_steps import BadStep, BadStepError
from mas_ray.training.loop import StepMetrics, Worker
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
        objective = _place(state, job.cascade.stages[1], job, CPU)
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
