"""Which rows make which batch, and how they are warped: pure functions of seed, place in the stage, and row.

Nothing here keeps state, so a resumed run sees what an undisturbed one would have seen, and the same global batch
whatever the number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Bool, Int64

from mas_ray.geometry.affine import random_affines
from mas_ray.training.objective import Warps


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedBatch:
    """The global batch of one step: rows of the training split, or of the single-view dataset's."""

    step: int
    single_view: bool
    rows: Int64[np.ndarray, " batch"]


def num_steps(num_rows: int, batch_size: int, steps_per_epoch: int | None) -> int:
    """Optimiser steps of an epoch.

    Raises:
        ValueError: There are fewer rows than one batch needs and no ``steps_per_epoch`` says how long to go on.
    """
    if steps_per_epoch is not None:
        return steps_per_epoch
    if num_rows < batch_size:
        raise ValueError(f"batch_size: {batch_size} frame sets asked, the training split has {num_rows}")
    return num_rows // batch_size


def derived_seed(*numbers: int) -> int:
    """One seed of several numbers, such as a run's seed and the index of a stage."""
    return int(np.random.SeedSequence((len(numbers), *numbers)).generate_state(1)[0])  # it takes (5,) for (5, 0)


def num_single_view_steps(num_steps: int, share: float) -> int:
    """How many of a stage's first steps take a single-view batch; exact for the share's decimals."""
    return int(num_steps * Fraction(str(share)))


def plan_batches(
    steps: range, *, num_rows: int, num_single_view_rows: int, batch_size: int, single_view_share: float, seed: int
) -> Iterator[PlannedBatch]:
    """The batches of some steps of a stage, the single-view ones spread evenly among the others.

    Each dataset is a stream of its own that only its own steps move on. A stream shorter than a batch repeats rows.

    Args:
        steps: The steps, counted from 0 within the stage.
        num_rows: Rows of the training split.
        num_single_view_rows: Rows of the single-view dataset's training split.
        batch_size: Rows of each batch.
        single_view_share: The stage's.
        seed: Decides the order of both datasets.
    """
    single = range(*(num_single_view_steps(end, single_view_share) for end in (steps.start, steps.stop)))
    multi = range(steps.start - single.start, steps.stop - single.stop)
    streams = {
        False: iter(stream_rows(num_rows, batch_size=batch_size, steps=multi, seed=derived_seed(seed, 0))),
        True: iter(stream_rows(num_single_view_rows, batch_size=batch_size, steps=single, seed=derived_seed(seed, 1))),
    }
    for step in steps:
        before, after = (num_single_view_steps(end, single_view_share) for end in (step, step + 1))
        single_view = after > before
        yield PlannedBatch(step=step, single_view=single_view, rows=next(streams[single_view]))


def stream_rows(num_rows: int, *, batch_size: int, steps: range, seed: int) -> Int64[np.ndarray, "steps batch"]:
    """Row numbers of some batches of a stream: shuffled passes over the rows, one after the other, cut into batches."""
    positions = np.arange(steps.start * batch_size, steps.stop * batch_size)
    passes = positions // num_rows
    rows = np.empty(len(positions), np.int64)
    for number in np.unique(passes):
        shuffled = np.random.default_rng((seed, int(number))).permutation(num_rows)
        rows[passes == number] = shuffled[positions[passes == number] % num_rows]
    return rows.reshape(len(steps), batch_size)


def draw_warps(
    rows: Int64[np.ndarray, " batch"],
    valid: Bool[torch.Tensor, "batch views"],
    *,
    num_warped: int,
    scale: float,
    seed: int,
    step: int,
) -> Warps:
    """Affine maps for some views of each row, valid ones first; the row decides, not its place in the batch."""
    views: list[torch.Tensor] = []
    maps: list[torch.Tensor] = []
    for row, there in zip(rows.tolist(), valid.cpu(), strict=True):
        generator = torch.Generator().manual_seed(derived_seed(seed, step, row))
        order = torch.randperm(len(there), generator=generator)
        views.append(order[torch.argsort(~there[order], stable=True)][:num_warped])
        maps.append(random_affines(num_warped, scale, generator))
    return Warps(view=torch.stack(views), input_from_output=torch.stack(maps))
