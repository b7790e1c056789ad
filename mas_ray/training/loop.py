"""The training loop of one stage as a generator: control stays with the caller. No Ray here."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int64
from torch import nn

from mas_ray.batch import Batch
from mas_ray.config.cascade import CascadeConfig
from mas_ray.config.jobs import BadSteps
from mas_ray.training.bad_steps import BadStep, BadStepError, backward, fault, of_all_workers
from mas_ray.training.data import FrameSets
from mas_ray.training.objective import LossBreakdown, StageObjective, Warps
from mas_ray.training.order import PlannedBatch, derived_seed, draw_warps, num_steps, plan_batches
from mas_ray.training.prefetch import prefetch
from mas_ray.training.state import TrainState, move_average

_NONE_SKIPPED = BadSteps()


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One of the workers that train together."""

    rank: int = 0
    world_size: int = 1

    def part_of(self, rows: Int64[np.ndarray, " rows"]) -> Int64[np.ndarray, " part"]:
        """This worker's rows: every ``world_size``-th."""
        return rows[self.rank :: self.world_size]


@dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """What one optimiser step did. ``step`` and ``epoch`` count within the stage, from 0."""

    step: int
    epoch: int
    ends_epoch: bool
    losses: dict[str, float]
    gradient_norm: float
    learning_rate: float
    num_images: int
    data_wait_s: float
    """How long the step stood still until its batch was there and on its device."""
    seconds: float
    """Of the whole step, that wait included."""
    bad_step: BadStep | None = None
    """Why the step left the weights as they were, if it did; its losses and norm say nothing then."""


def run_stage(
    state: TrainState,
    objective: nn.Module,
    train: FrameSets,
    *,
    cascade: CascadeConfig,
    stage: int,
    single_view: FrameSets | None = None,
    worker: Worker = Worker(),
    bad_steps: BadSteps = _NONE_SKIPPED,
) -> Generator[StepMetrics]:
    """Train a stage from ``state.epoch`` to its end, one yield per optimiser step.

    ``state`` is up to date at every yield; its ``epoch`` has advanced when ``ends_epoch`` is true. A thread decodes the
    next batch meanwhile; it ends with the generator, so close the generator if it is left before its end.

    Args:
        state: Networks and optimiser, changed in place.
        objective: The stage's objective, wrapped for data-parallel training or not.
        train: The training split; it alone decides how many steps an epoch has.
        cascade: The recipe.
        stage: Index of the stage in it.
        single_view: Frame sets of single views, if the stage has a share of them.
        worker: Which worker this is; it takes its part of each global batch.
        bad_steps: What becomes of steps whose loss or gradient is not finite or explodes. All workers decide alike.

    Raises:
        ValueError: The batch does not divide among the workers, or there are no single views for the stage's share.
        BadStepError: A bad step more than may be skipped; the message names stage, step and rows.
    """
    config, per_epoch = cascade.stages[stage], num_steps(len(train), cascade.batch_size, cascade.steps_per_epoch)
    if cascade.batch_size % worker.world_size:
        raise ValueError(f"batch_size: {cascade.batch_size} frame sets do not divide among {worker.world_size} workers")
    if config.single_view_share > 0 and single_view is None:
        raise ValueError(f"single_view_share: stage {config.name!r} has one, and no single views are given")
    device = next(objective.parameters()).device
    inputs = _inputs(
        state.epoch, per_epoch, train, cascade=cascade, stage=stage, single_view=single_view, worker=worker
    )
    with closing(inputs):
        while state.epoch < config.num_epochs:
            epoch = state.epoch
            rate = config.learning_rate(epoch)
            for group in state.optimizer.param_groups:
                group["lr"] = rate
            last = (epoch + 1) * per_epoch - 1
            norms: list[float] = []
            num_skipped = 0
            for step in range(epoch * per_epoch, last + 1):
                start = time.perf_counter()
                given = next(inputs)
                batch, warps = given.batch.to(device), given.warps.to(device)
                waited = time.perf_counter() - start
                breakdown, norm, reason = _optimise(
                    state, objective, batch, warps, step, clip=cascade.gradient_clip, norms=norms, policy=bad_steps
                )
                losses = breakdown.as_floats()
                bad_step = None
                if reason is None:
                    norms.append(norm)
                    move_average(state, cascade.weight_average, step)
                else:
                    bad_step = _tell(reason, losses, given, stage=config.name, worker=worker, device=device)
                    num_skipped += 1
                    if num_skipped > bad_steps.skipped_per_epoch or num_skipped == per_epoch:
                        raise BadStepError(bad_step)
                state.epoch = epoch + 1 if step == last else epoch
                yield StepMetrics(
                    step=step,
                    epoch=epoch,
                    ends_epoch=step == last,
                    losses=losses,
                    gradient_norm=norm,
                    learning_rate=rate,
                    num_images=int(batch.valid.sum()),
                    data_wait_s=waited,
                    seconds=time.perf_counter() - start,
                    bad_step=bad_step,
                )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Input:
    """What a step is given: the plan of all workers, and this worker's part of it on the CPU."""

    planned: PlannedBatch
    frame_sets: FrameSets
    """Of which the plan has the rows."""
    batch: Batch
    warps: Warps


def _inputs(
    first_epoch: int,
    per_epoch: int,
    train: FrameSets,
    *,
    cascade: CascadeConfig,
    stage: int,
    single_view: FrameSets | None,
    worker: Worker,
) -> Generator[_Input]:
    """The inputs of the stage's remaining steps, each decoded while the step before it computes."""
    config, seed = cascade.stages[stage], derived_seed(cascade.seed, stage)

    def plan() -> Iterator[PlannedBatch]:
        for epoch in range(first_epoch, config.num_epochs):
            yield from plan_batches(
                range(epoch * per_epoch, (epoch + 1) * per_epoch),
                num_rows=len(train),
                num_single_view_rows=0 if single_view is None else len(single_view),
                batch_size=cascade.batch_size,
                single_view_share=config.single_view_share,
                seed=seed,
            )

    def fetch(planned: PlannedBatch) -> _Input:
        frame_sets = single_view if planned.single_view and single_view is not None else train
        rows = worker.part_of(planned.rows)
        batch = frame_sets.batch(rows)
        num_views = batch.valid.shape[1]
        warps = draw_warps(
            rows,
            batch.valid,
            num_warped=min(cascade.equivariance_views or num_views, num_views),
            scale=cascade.equivariance_scale,
            seed=seed,
            step=planned.step,
        )
        return _Input(planned=planned, frame_sets=frame_sets, batch=batch, warps=warps)

    return prefetch(fetch, plan())


def _optimise(
    state: TrainState,
    objective: nn.Module,
    batch: Batch,
    warps: Warps,
    step: int,
    *,
    clip: float,
    norms: Sequence[float],
    policy: BadSteps,
) -> tuple[LossBreakdown, float, str | None]:
    """One step of the optimiser; the losses before it, the norm of their gradient, and why it was not taken if so."""
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    objective.train()  # the caller may have evaluated the networks since the last step
    state.optimizer.zero_grad(set_to_none=True)
    losses: LossBreakdown = objective(batch, warps, step)
    backward(losses.total)
    norm = float(nn.utils.clip_grad_norm_(parameters, clip or torch.inf))
    reason = fault(norm, norms, policy)
    if reason is None:
        state.optimizer.step()
    return losses, norm, reason


def _tell(
    reason: str,
    losses: dict[str, float],
    given: _Input,
    *,
    stage: str,
    worker: Worker,
    device: torch.device,
) -> BadStep:
    """A bad step as all workers together know it; every worker has to call it."""
    table = of_all_workers(list(losses.values()), device, rank=worker.rank, world_size=worker.world_size)
    not_finite = [rank for rank, values in enumerate(table) if not all(map(math.isfinite, values))]
    ranks = not_finite or list(range(worker.world_size))
    rows = np.concatenate([replace(worker, rank=rank).part_of(given.planned.rows) for rank in ranks])
    return BadStep(
        stage=stage,
        step=given.planned.step,
        reason="loss is not finite" if not_finite else reason,
        single_view=given.planned.single_view,
        rows=tuple(rows.tolist()),
        frame_sets=given.frame_sets.names(rows),
        losses=dict(zip(losses, table[ranks[0]], strict=True)),
    )


@torch.no_grad()
def validation_reconstruction(
    objective: StageObjective, held_out: FrameSets, *, batch_size: int, worker: Worker = Worker()
) -> float:
    """Mean reconstruction loss over held-out rows with the stage's final factors: label-free model selection.

    Every worker takes its part of the rows; with several workers the result is the mean over all of them.

    Raises:
        FloatingPointError: It is not finite.
    """
    device = next(objective.parameters()).device
    last_step = 10**9
    objective.eval()
    sums = torch.zeros(2, dtype=torch.float64)
    rows = worker.part_of(np.arange(len(held_out)))
    for start in range(0, len(rows), batch_size):
        chunk = rows[start : start + batch_size]
        losses = objective(held_out.batch(chunk).to(device), None, last_step)
        sums += torch.tensor([float(losses.reconstruction) * len(chunk), len(chunk)], dtype=torch.float64)
    objective.train()
    if worker.world_size > 1:
        sums = sums.to(device)
        torch.distributed.all_reduce(sums)
    mean = float(sums[0] / sums[1])
    if not math.isfinite(mean):
        raise FloatingPointError(f"the reconstruction loss of held-out frame sets is {mean}")
    return mean
