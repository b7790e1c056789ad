"""The teacher: what the networks of one stage know of the training split, settled by whole takes, for the next stage.

A single view leaves open which side is left and how deep a joint lies; all views of all instants of a take together do
not. So the next stage need not find that out by gradients: it is told. No label is involved.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mas_ray.batch import Batch
from mas_ray.config.stage import TeacherConfig
from mas_ray.geometry.naming import link_names, swap_sides
from mas_ray.inference import FrameSetEstimator
from mas_ray.shards.location import publishing
from mas_ray.training.arm_search import search_arms
from mas_ray.training.data import FrameSets
from mas_ray.training.reprojection import positions_ndc

_BATCH_SIZE = 16


def teach(
    estimator: FrameSetEstimator, frame_sets: FrameSets, config: TeacherConfig, *, part: int = 0, num_parts: int = 1
) -> Float[Tensor, "rows joints 3"]:
    """World joints of every frame set in millimetres; NaN where there are fewer than two calibrated views.

    With several parts, only every ``num_parts``-th take is done and the others are NaN; ``joined`` puts parts together.
    """
    joints_mm = torch.full((len(frame_sets), estimator.skeleton.num_joints, 3), torch.nan)
    for rows in frame_sets.takes()[part::num_parts]:
        joints_mm[torch.from_numpy(rows)] = _teach_take(estimator, frame_sets, rows, config)
    return joints_mm


def joined(parts: Sequence[Float[Tensor, "rows joints 3"]]) -> Float[Tensor, "rows joints 3"]:
    """The parts of a teaching as one."""
    return functools.reduce(lambda done, part: torch.where(part.isnan(), done, part), parts)


def save_teaching(path: Path, joints_mm: Float[Tensor, "rows joints 3"]) -> None:
    """Write a teacher's joints, whole or not at all."""
    with publishing(path) as partial:
        torch.save(joints_mm, partial)


def load_teaching(path: Path) -> Float[Tensor, "rows joints 3"]:
    """Read what ``save_teaching`` wrote; ``ValueError`` if the file cannot be read."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: not a readable teacher file; delete it and run again: {error}") from None


def _teach_take(
    estimator: FrameSetEstimator, frame_sets: FrameSets, rows: Int64[np.ndarray, " rows"], config: TeacherConfig
) -> Float[Tensor, "rows joints 3"]:
    batches = [frame_sets.batch(rows[start : start + _BATCH_SIZE]) for start in range(0, len(rows), _BATCH_SIZE)]
    joints_mm = torch.cat([estimator.detect(batch).world_mm for batch in batches])
    known = joints_mm.isfinite().all(-1).all(-1)
    if config.link_names and known.any():
        linked = joints_mm[known]
        swap = link_names(linked, estimator.skeleton)[:, None].expand(linked.shape[:-1])
        joints_mm[known] = swap_sides(linked, swap, estimator.skeleton)
    if config.search_arms:
        joints_mm = torch.cat(
            [
                _with_arms(estimator, batch, of_batch)
                for batch, of_batch in zip(batches, joints_mm.split(_BATCH_SIZE), strict=True)
            ]
        )
    return joints_mm


def _with_arms(
    estimator: FrameSetEstimator, batch: Batch, joints_mm: Float[Tensor, "batch joints 3"]
) -> Float[Tensor, "batch joints 3"]:
    finite = joints_mm.nan_to_num()
    skeleton_mask, physique_mask = estimator.render(positions_ndc(finite, batch.camera), with_arms=False)
    found = search_arms(
        finite,
        mask=batch.mask,
        explained=physique_mask if estimator.stage.loss_weights.physique_mask > 0 else skeleton_mask,
        camera=batch.camera,
        views=batch.valid & batch.calibrated,
        skeleton=estimator.skeleton,
    )
    return torch.where(joints_mm.isfinite(), found, joints_mm)
