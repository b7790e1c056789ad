"""Measuring held-out frame sets by a yardstick that no λ or σ of the job changes. Needs no labels."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor
from torch.nn import functional as F

from mas_ray import losses
from mas_ray.batch import Batch
from mas_ray.config.cascade import CascadeConfig
from mas_ray.config.yardstick import Yardstick, YardstickWeights
from mas_ray.geometry.affine import apply_affine, warp_images
from mas_ray.rendering.skeleton_mask import skeleton_mask, stage_bones
from mas_ray.skeleton import Skeleton
from mas_ray.training.data import FrameSets
from mas_ray.training.loop import Worker
from mas_ray.training.objective import StageObjective, Warps
from mas_ray.training.order import draw_warps
from mas_ray.training.placement import image_format
from mas_ray.training.reprojection import Seen, reproject

TERMS = tuple(field.name for field in fields(YardstickWeights))
_ALONE = Worker()
_WARP_SEED = 0
_PERCENT_OF_CROP = 100.0 / 2.0  # NDC spans 2 from edge to edge


@dataclass(frozen=True, kw_only=True, eq=False)
class _Term:
    """One term of some frame sets, view by view."""

    value: Float[Tensor, "batch views"]
    views: Bool[Tensor, "batch views"]
    """Where the value counts; frame sets without any such view have no value."""

    def sums(self) -> Float64[Tensor, " sum_and_number"]:
        """The sum over frame sets of the mean over their views, and how many frame sets have one."""
        masked = torch.where(self.views, self.value, 0.0).double()
        num_views = self.views.sum(-1)
        return torch.stack([(masked.sum(-1) / num_views.clamp_min(1)).sum(), (num_views > 0).sum().double()])


@torch.no_grad()
def measure(
    objective: StageObjective,
    held_out: FrameSets,
    yardstick: Yardstick,
    *,
    batch_size: int,
    worker: Worker = _ALONE,
) -> dict[str, float]:
    """Every term of the yardstick and its weighted sum, the ``score``; all are better the smaller they are.

    Of the objective only the networks, what the shape prior network is fed (the stage's own skeleton mask), and whether
    left and right are resolved between views are used: no λ, no geodesic constant, no other σ. Everything is float32
    and repeats exactly on a CPU. Every worker takes its part of the rows; the result is that over all of them, as
    ``validation_reconstruction``'s. See ``config.yardstick`` for what a term cannot see.

    Args:
        objective: The networks, as their stage has them.
        held_out: The frame sets; how they are decoded is the yardstick's choice, not theirs.
        yardstick: How to measure.
        batch_size: Frame sets that are measured at a time.
        worker: Which worker this is.

    Returns:
        By name, ``reprojection`` left away where no frame set has two calibrated views.

    Raises:
        FloatingPointError: A term is not finite.
        ValueError: ``reprojection`` counts in the score and could not be measured.
    """
    device = next(objective.parameters()).device
    reference = yardstick.cascade(objective.cascade.detector)
    frame_sets = held_out.decoded_for(reference)
    rows = worker.part_of(np.arange(len(held_out)))
    sums = torch.zeros(len(TERMS), 2, dtype=torch.float64, device=device)
    objective.eval()
    for start in range(0, len(rows), batch_size):
        chunk = rows[start : start + batch_size]
        batch = frame_sets.batch(chunk)
        warps = draw_warps(chunk, batch.valid, num_warped=1, scale=yardstick.warp_scale, seed=_WARP_SEED, step=0)
        terms = _terms(objective, batch.to(device), warps.to(device), reference)
        sums += torch.stack([terms[name].sums() for name in TERMS])
    objective.train()
    if worker.world_size > 1:
        torch.distributed.all_reduce(sums)
    means = {name: total / num for name, (total, num) in zip(TERMS, sums.tolist(), strict=True) if num}
    for name, mean in means.items():
        if not math.isfinite(mean):
            raise FloatingPointError(f"yardstick: {name} of held-out frame sets is {mean}")
    return {**means, "score": _score(means, yardstick.weights)}


def _score(terms: dict[str, float], weights: YardstickWeights) -> float:
    counting = {name: getattr(weights, name) for name in TERMS if getattr(weights, name) > 0}
    missing = [name for name in counting if name not in terms]
    if missing:
        raise ValueError(f"yardstick.weights.{missing[0]}: no held-out frame set has two calibrated views; set it to 0")
    return sum(weight * terms[name] for name, weight in counting.items())


def _terms(objective: StageObjective, batch: Batch, warps: Warps, reference: CascadeConfig) -> dict[str, _Term]:
    images = batch.image.flatten(0, 1)
    found = objective.detector(images.contiguous(memory_format=image_format(images.device)))
    predicted = Seen(
        keypoints_ndc=found.keypoints_ndc.unflatten(0, batch.valid.shape),
        depth_ndc=found.depth_ndc.unflatten(0, batch.valid.shape),
    )
    return {
        "skeleton_mask": _skeleton_mask(predicted, batch, reference, objective.skeleton),
        "physique_iou": _physique_iou(objective, predicted, batch),
        "reprojection": _reprojection(objective, predicted, batch),
        "equivariance": _equivariance(objective, predicted, batch, warps),
    }


def _skeleton_mask(predicted: Seen, batch: Batch, reference: CascadeConfig, skeleton: Skeleton) -> _Term:
    """The paper's loss of each view's own joints, as the yardstick draws them and weighs pixels."""
    bones, widths = stage_bones(reference.stages[0], skeleton)
    drawn = skeleton_mask(predicted.keypoints_ndc, bones, widths, size=reference.mask_size, merge=reference.bone_merge)
    return _Term(value=losses.mask_reconstruction(drawn, batch.mask, batch.weight), views=batch.valid)


def _physique_iou(objective: StageObjective, predicted: Seen, batch: Batch) -> _Term:
    """Cut at one half, so that it is about where the edge lies and not about how sure the network is of it."""
    drawn = objective.draw(predicted.keypoints_ndc)
    physique = F.interpolate(objective.shape_prior(drawn.flatten(0, 1))[None], batch.mask.shape[-2:], mode="area")
    inside, person = physique[0].unflatten(0, batch.valid.shape) > 0.5, batch.mask > 0.5
    common, either = (inside & person).sum((-1, -2)), (inside | person).sum((-1, -2))
    return _Term(value=1.0 - common / either.clamp_min(1), views=batch.valid)


def _reprojection(objective: StageObjective, predicted: Seen, batch: Batch) -> _Term:
    r = reproject(
        predicted,
        batch,
        skeleton=objective.skeleton,
        depth_range_mm=objective.cascade.detector.depth_range_mm,
        resolve_names=objective.stage.resolve_names,
    )
    distance = torch.linalg.vector_norm(r.named.keypoints_ndc - r.seen.keypoints_ndc, dim=-1).mean(-1)
    return _Term(value=distance * _PERCENT_OF_CROP, views=r.views)


def _equivariance(objective: StageObjective, predicted: Seen, batch: Batch, warps: Warps) -> _Term:
    """One valid view of each frame set, warped."""
    at = torch.arange(len(warps.view), device=warps.view.device)[:, None], warps.view
    maps = warps.input_from_output
    warped = warp_images(batch.image[at].flatten(0, 1), maps.flatten(0, 1))
    found = objective.detector(warped.contiguous(memory_format=image_format(warped.device)))
    unwarped = apply_affine(maps, found.keypoints_ndc.unflatten(0, warps.view.shape))
    distance = torch.linalg.vector_norm(unwarped - predicted.keypoints_ndc[at], dim=-1).mean(-1)
    return _Term(value=distance * _PERCENT_OF_CROP, views=batch.valid[at])
