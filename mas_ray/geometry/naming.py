"""Left and right across views and through time, without labels.

A mask cannot tell left from right, so each view may name the sides its own way. Of the 2^(V-1) relative patterns
of V views only one puts both sides where the views agree. Legs and arms are searched apart and then joined by the
trunk: the left shoulder lies on the left hip's side. What remains free is one bit for the whole pose. A body does not
turn about between two frames, so the poses of one take share that bit; knees, which bend forward, decide it.
"""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from mas_ray.geometry.camera import Camera
from mas_ray.geometry.chirality import knee_chirality
from mas_ray.geometry.triangulation import per_view, triangulate
from mas_ray.skeleton import Skeleton

_LEGS = ("hip", "knee", "ankle")
_MOST_VIEWS = 8
_ARMS = ("shoulder", "elbow", "wrist")


def swap_sides(
    keypoints: Float[Tensor, "*batch joints axes"], swap: Bool[Tensor, "*batch joints"], skeleton: Skeleton
) -> Float[Tensor, "*batch joints axes"]:
    """Exchange left and right where ``swap`` says so (equal for both joints of a pair)."""
    mirrored = keypoints[..., list(skeleton.mirror_permutation), :]
    return torch.where(swap.unsqueeze(-1), mirrored, keypoints)


@torch.no_grad()
def search_names(
    keypoints_px: Float[Tensor, "*batch views joints 2"],
    camera: Camera,
    weight: Float[Tensor, "*batch views joints"],
    skeleton: Skeleton,
) -> Bool[Tensor, "*batch views joints"]:
    """Which joints to swap in which view so that all views name the sides alike.

    The first view keeps its leg names; per group, the pattern with the smallest reprojection residual wins.
    No gradient passes. Residuals are in the pixels of ``camera``'s image.

    Raises:
        ValueError: There are more views than patterns can be tried for.
    """
    num_views = keypoints_px.shape[-3]
    if num_views > _MOST_VIEWS:
        raise ValueError(f"resolve_names: {num_views} views have 2^{num_views - 1} patterns; at most {_MOST_VIEWS}")
    legs = _search_group(keypoints_px, camera, weight, skeleton, _LEGS)
    arms = _search_group(keypoints_px, camera, weight, skeleton, _ARMS)
    named = swap_sides(keypoints_px, legs | arms, skeleton)
    joints = triangulate(named, camera, weight)
    across_hips = joints[..., skeleton.index("left_hip"), :] - joints[..., skeleton.index("right_hip"), :]
    across_shoulders = (
        joints[..., skeleton.index("left_shoulder"), :] - joints[..., skeleton.index("right_shoulder"), :]
    )
    opposed = (across_hips * across_shoulders).sum(-1) < 0
    flip_arms = opposed[..., None, None] & _group_joints(skeleton, _ARMS).to(keypoints_px.device)
    return legs | (arms ^ flip_arms.expand(*arms.shape[:-2], num_views, arms.shape[-1]))


def link_names(joints_mm: Float[Tensor, "instants joints 3"], skeleton: Skeleton) -> Bool[Tensor, " instants"]:
    """In which poses of a take to exchange left and right so that it moves smoothly and its knees bend forward.

    Each pose takes the naming that is nearer to the pose before it, both about their own centres. Then the take as a
    whole takes the naming under which the knees' chirality is positive.

    Args:
        joints_mm: Poses of one take in the order of time, world; left and right may be exchanged from pose to pose.
        skeleton: The skeleton.
    """
    mirror = list(skeleton.mirror_permutation)
    centred = joints_mm - joints_mm.mean(-2, keepdim=True)
    stays = _distance(centred[1:], centred[:-1])
    exchanges = _distance(centred[1:, mirror], centred[:-1])
    swap = functional.pad(torch.cumsum(exchanges < stays, 0) % 2, (1, 0)).bool()
    linked = swap_sides(joints_mm, swap[:, None].expand(joints_mm.shape[:-1]), skeleton)
    chirality = knee_chirality(linked, skeleton)
    return ~swap if chirality is not None and chirality.says_swapped else swap


def _distance(a: Float[Tensor, "poses joints 3"], b: Float[Tensor, "poses joints 3"]) -> Float[Tensor, " poses"]:
    return (a - b).square().sum(-1).sqrt().sum(-1)


def _search_group(
    keypoints_px: Float[Tensor, "*batch views joints 2"],
    camera: Camera,
    weight: Float[Tensor, "*batch views joints"],
    skeleton: Skeleton,
    group: tuple[str, ...],
) -> Bool[Tensor, "*batch views joints"]:
    num_views = keypoints_px.shape[-3]
    members = _group_joints(skeleton, group).to(keypoints_px.device)
    best_residual = torch.full(keypoints_px.shape[:-3], torch.inf, device=keypoints_px.device)
    best = torch.zeros(keypoints_px.shape[:-1], dtype=torch.bool, device=keypoints_px.device)
    for pattern in itertools.product((False, True), repeat=num_views - 1):
        views = torch.tensor((False, *pattern), device=keypoints_px.device)
        swap = (views[:, None] & members).expand_as(best)
        named = swap_sides(keypoints_px, swap, skeleton)
        reprojected = camera.project(per_view(triangulate(named, camera, weight), num_views))
        distance = (reprojected - named).square().sum(-1).clamp_max(1e12).sqrt()
        residual = (distance * weight * members).sum((-1, -2))
        better = residual < best_residual
        best_residual = torch.where(better, residual, best_residual)
        best = torch.where(better[..., None, None], swap, best)
    return best


def _group_joints(skeleton: Skeleton, group: tuple[str, ...]) -> Bool[Tensor, " joints"]:
    return torch.tensor([name.split("_")[-1] in group for name in skeleton.joints])
