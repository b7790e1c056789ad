"""Joints in the world, triangulated from all views, as each view sees them again (Eq. 10)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from mas_ray.batch import Batch
from mas_ray.geometry.camera import Camera
from mas_ray.geometry.naming import search_names, swap_sides
from mas_ray.geometry.triangulation import per_view, triangulate
from mas_ray.skeleton import Skeleton

_FARTHEST_NDC = 3.0  # reprojections of half-trained joints can lie anywhere; beyond this no pixel sees them


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """World joints in the views: where in the crop, and how far behind the root in units of the depth range."""

    keypoints_ndc: Float[Tensor, "batch views joints 2"]
    depth_ndc: Float[Tensor, "batch views joints"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reprojection:
    """What was predicted, under the names that triangulate best, and what the triangulated joints look like."""

    named: Seen
    seen: Seen
    joints_mm: Float[Tensor, "batch joints 3"]
    views: Bool[Tensor, "batch views"]
    """The views that took part: none of a frame set with fewer than two calibrated ones."""


def positions_ndc(joints_mm: Float[Tensor, "batch joints 3"], camera: Camera) -> Float[Tensor, "batch views joints 2"]:
    """Where every view sees world joints; far outside the crop they stay at a fixed distance from it."""
    return camera.project(per_view(joints_mm, camera.K.shape[1])).clamp(-_FARTHEST_NDC, _FARTHEST_NDC)


def see(
    joints_mm: Float[Tensor, "batch joints 3"], camera: Camera, *, skeleton: Skeleton, depth_range_mm: float
) -> Seen:
    """World joints from every view."""
    z_mm = camera.camera_from_world(per_view(joints_mm, camera.K.shape[1]))[..., 2]
    root = skeleton.index("pelvis")
    return Seen(
        keypoints_ndc=positions_ndc(joints_mm, camera),
        depth_ndc=(z_mm - z_mm[..., root : root + 1]) / depth_range_mm,
    )


def reproject(
    predicted: Seen, batch: Batch, *, skeleton: Skeleton, depth_range_mm: float, resolve_names: bool
) -> Reprojection:
    """Triangulate (Eq. 10), under the best relative naming if asked to, and look at the result from every view."""
    views = batch.valid & batch.calibrated
    views = views & (views.sum(-1, keepdim=True) >= 2)
    weight = views.unsqueeze(-1).expand(predicted.depth_ndc.shape).to(predicted.depth_ndc.dtype)
    named = predicted
    if resolve_names:
        swap = search_names(predicted.keypoints_ndc.detach(), batch.camera, weight, skeleton)
        named = Seen(
            keypoints_ndc=swap_sides(predicted.keypoints_ndc, swap, skeleton),
            depth_ndc=swap_sides(predicted.depth_ndc.unsqueeze(-1), swap, skeleton).squeeze(-1),
        )
    joints_mm = triangulate(named.keypoints_ndc, batch.camera, weight)
    seen = see(joints_mm, batch.camera, skeleton=skeleton, depth_range_mm=depth_range_mm)
    return Reprojection(named=named, seen=seen, joints_mm=joints_mm, views=views)
