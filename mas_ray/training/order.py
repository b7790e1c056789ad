"""Which rows make which batch, and how they are warped: pure functions of seed, place in the stage, and row.

Nothing here keeps state, so a resumed run sees what an undisturbed one would have seen, and the same global batch
whatever the number of workers.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Int64

from mas_ray.geometry.affine import random_affines
from mas_ray.training.objective import Warps


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


def epoch_rows(
    num_rows: int, *, batch_size: int, steps: int, seed: int, epoch: int
) -> Int64[np.ndarray, "steps batch"]:
    """Row numbers of every batch of an epoch: a stream of shuffled passes over the rows, cut into epochs."""
    start = epoch * steps * batch_size
    positions = np.arange(start, start + steps * batch_size)
    passes = positions // num_rows
    rows = np.empty(len(positions), np.int64)
    for number in np.unique(passes):
        shuffled = np.random.default_rng((seed, int(number))).permutation(num_rows)
        rows[passes == number] = shuffled[positions[passes == number] % num_rows]
    return rows.reshape(steps, batch_size)


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
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence((seed, step, row)).generate_state(1)[0]))
        order = torch.randperm(len(there), generator=generator)
        views.append(order[torch.argsort(~there[order], stable=True)][:num_warped])
        maps.append(random_affines(num_warped, scale, generator))
    return Warps(view=torch.stack(views), input_from_output=torch.stack(maps))
