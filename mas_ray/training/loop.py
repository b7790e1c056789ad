"""The training loop of one stage as a generator: control stays with the caller. No Ray here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import nn

from mas_ray.batch import Batch
from mas_ray.config.cascade import CascadeConfig, StageConfig
from mas_ray.training.objective import LossBreakdown, StageObjective
from mas_ray.training.order import draw_warps, epoch_rows
from mas_ray.training.state import TrainState

BatchReader = Callable[[Int64[np.ndarray, " batch"]], Batch]


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
    seconds: float


def run_stage(
    state: TrainState,
    objective: nn.Module,
    read_batch: BatchReader,
    *,
    stage: StageConfig,
    cascade: CascadeConfig,
    num_rows: int,
    steps_per_epoch: int,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[StepMetrics]:
    """Train a stage from ``state.epoch`` to its end, one yield per optimiser step.

    ``state`` is up to date at every yield; its ``epoch`` has advanced when ``ends_epoch`` is true.

    Args:
        state: Networks and optimiser, changed in place.
        objective: The stage's objective, wrapped for data-parallel training or not.
        read_batch: Gives the batch of some row numbers of the training split.
        stage: The stage.
        cascade: The cascade it belongs to.
        num_rows: Rows of the training split.
        steps_per_epoch: Optimiser steps of an epoch.
        rank: This worker's number; it takes every ``world_size``-th row of each global batch.
        world_size: Number of workers; must divide the batch size.

    Raises:
        ValueError: The batch does not divide among the workers.
        FloatingPointError: The loss or its gradient is not finite; the message names stage, step and rows.
    """
    if cascade.batch_size % world_size:
        raise ValueError(f"batch_size: {cascade.batch_size} frame sets do not divide among {world_size} workers")
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    device = parameters[0].device
    while state.epoch < stage.num_epochs:
        epoch = state.epoch
        rate = stage.learning_rate(epoch)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        batches = epoch_rows(
            num_rows, batch_size=cascade.batch_size, steps=steps_per_epoch, seed=cascade.seed, epoch=epoch
        )
        for index, global_rows in enumerate(batches):
            start = time.perf_counter()
            rows, step = global_rows[rank::world_size], epoch * steps_per_epoch + index
            batch = read_batch(rows).to(device)
            num_views = batch.valid.shape[1]
            warps = draw_warps(
                rows,
                batch.valid,
                num_warped=min(cascade.equivariance_views or num_views, num_views),
                scale=cascade.equivariance_scale,
                seed=cascade.seed,
                step=step,
            ).to(device)
            waited = time.perf_counter() - start
            state.optimizer.zero_grad(set_to_none=True)
            losses: LossBreakdown = objective(batch, warps, step)
            where = f"stage {stage.name!r}, step {step}, rows {rows.tolist()} of the split"
            if not torch.isfinite(losses.total):
                raise FloatingPointError(f"loss is not finite in {where}")
            losses.total.backward()
            norm = nn.utils.clip_grad_norm_(parameters, cascade.gradient_clip or torch.inf)
            if not torch.isfinite(norm):
                raise FloatingPointError(f"gradient is not finite in {where}")
            state.optimizer.step()
            ends_epoch = index == steps_per_epoch - 1
            state.epoch = epoch + 1 if ends_epoch else epoch
            yield StepMetrics(
                step=step,
                epoch=epoch,
                ends_epoch=ends_epoch,
                losses=losses.as_floats(),
                gradient_norm=float(norm),
                learning_rate=rate,
                num_images=int(batch.valid.sum()),
                data_wait_s=waited,
                seconds=time.perf_counter() - start,
            )


@torch.no_grad()
def validation_reconstruction(
    objective: StageObjective,
    read_batch: BatchReader,
    *,
    num_rows: int,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
) -> float:
    """Mean reconstruction loss over held-out rows with the stage's final factors: label-free model selection.

    Every worker takes its share of the rows; with several workers the result is the mean over all of them.
    """
    device = next(objective.parameters()).device
    last_step = 10**9
    sums = torch.zeros(2, dtype=torch.float64)
    rows = np.arange(rank, num_rows, world_size)
    for start in range(0, len(rows), batch_size):
        chunk = rows[start : start + batch_size]
        losses = objective(read_batch(chunk).to(device), None, last_step)
        sums += torch.tensor([float(losses.reconstruction) * len(chunk), len(chunk)], dtype=torch.float64)
    if world_size > 1:
        sums = sums.to(device)
        torch.distributed.all_reduce(sums)
    return float(sums[0] / sums[1])
