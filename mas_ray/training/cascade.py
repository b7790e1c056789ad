"""A whole cascade in this process, without Ray, checkpoints or resuming: for ablations and tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from mas_ray.config.cascade import CascadeConfig
from mas_ray.config.stage import StageConfig
from mas_ray.inference import FrameSetEstimator
from mas_ray.skeleton import Skeleton
from mas_ray.training.data import FrameSets
from mas_ray.training.loop import StepMetrics, run_stage
from mas_ray.training.objective import StageObjective
from mas_ray.training.state import TrainState, create_state, inherit
from mas_ray.training.teacher import teach


@dataclass(frozen=True, kw_only=True, eq=False)
class CascadeStep:
    """One optimiser step of a cascade, and the state it left."""

    stage: StageConfig
    metrics: StepMetrics
    state: TrainState


def run_cascade(cascade: CascadeConfig, train: FrameSets, *, skeleton: Skeleton) -> Iterator[CascadeStep]:
    """Train all stages on the CPU, each from the last weights of the one before; one yield per optimiser step."""
    state: TrainState | None = None
    for index in range(len(cascade.stages)):
        for step in run_cascade_stage(cascade, index, train, before=state, skeleton=skeleton):
            state = step.state
            yield step


def run_cascade_stage(
    cascade: CascadeConfig,
    index: int,
    train: FrameSets,
    *,
    before: TrainState | None,
    skeleton: Skeleton,
    single_view: FrameSets | None = None,
) -> Iterator[CascadeStep]:
    """Train one stage on the CPU; one yield per optimiser step.

    Args:
        cascade: The cascade; what follows the stage has no influence.
        index: Number of the stage.
        train: The training split.
        before: What the stage before it left; None for the first one.
        skeleton: The skeleton.
        single_view: Frame sets of single views, if the stage has a share of them.

    Raises:
        ValueError: The stage has a share of single views, and there are none; or a teacher, and no stage is before it.
    """
    stage = cascade.stages[index]
    state = create_state(cascade, skeleton, torch.device("cpu"))
    if before is not None:
        kept = before.kept
        inherit(state, stage, detector=kept.detector.state_dict(), shape_prior=kept.shape_prior.state_dict())
        if stage.teacher is not None:
            train = train.taught(teach(estimator_of(before, cascade, index - 1, skeleton), train, stage.teacher))
    elif stage.teacher is not None:
        raise ValueError(f"teacher: no stage comes before {stage.name!r} to teach it")
    objective = StageObjective(state.detector, state.shape_prior, stage=stage, cascade=cascade, skeleton=skeleton)
    for metrics in run_stage(state, objective, train, cascade=cascade, stage=index, single_view=single_view):
        yield CascadeStep(stage=stage, metrics=metrics, state=state)


def estimator_of(state: TrainState, cascade: CascadeConfig, stage: int, skeleton: Skeleton) -> FrameSetEstimator:
    """The networks of a state as the given stage left them."""
    kept = state.kept
    return FrameSetEstimator(
        kept.detector, kept.shape_prior, stage=cascade.stages[stage], cascade=cascade, skeleton=skeleton
    )
