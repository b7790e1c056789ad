"""Left and right across views and through time, without labels.

A mask cannot tell left from right, so each view may name the sides its own way. Of the 2^(V-1) relative patterns
of V views only one puts both sides where the views agree. Legs and arms are searched apart and then joined by the
trunk: the left shoulder lies on the left hip's side. What remains free is one bit for the whole pose. A body does not
turn about between two frames, so the poses of one take share that bit; knees, which bend forward, decide it.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from mas_ray.geometry.camera import Camera
from mas_ray.geometry.chirality import knee_chirality
from mas_ray.geometry.triangulation import per_view, triangulate
from mas_ray.skeleton import Skeleton

_LEGS = ("hip", "knee", "ankle")
MOST_VIEWS = 8
"""Whose patterns are all tried: 2^7."""
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

    Per group, the pattern with the smallest reprojection residual wins. The first view with weight keeps its leg
    names, and where fewer than two views have weight all names stay. No gradient passes. Residuals are in the pixels of
    ``camera``'s image.

    Raises:
        ValueError: There are more views than patterns can be tried for.
    """
    num_views = keypoints_px.shape[-3]
    if num_views > MOST_VIEWS:
        raise ValueError(f"resolve_names: {num_views} views have 2^{num_views - 1} patterns; at most {MOST_VIEWS}")
    legs, arms = (_sides(skeleton, group) for group in (_LEGS, _ARMS))
    limbs, mirrored = [*legs, *arms], [skeleton.mirror_permutation[joint] for joint in (*legs, *arms)]
    # All patterns at once, on an axis before the batch's.
    patterns = _patterns(num_views).to(keypoints_px.device)
    swap = patterns.view(-1, *[1] * (keypoints_px.ndim - 3), num_views, 1, 1)
    named = torch.where(swap, keypoints_px[..., mirrored, :], keypoints_px[..., limbs, :])
    usable = (weight > 0).any(-1)
    weight = weight[..., limbs].expand(named.shape[:-1])
    joints = triangulate(named, camera, weight)
    distance = (camera.project(per_view(joints, num_views)) - named).square().sum(-1).clamp_max(1e12).sqrt()
    residual = (distance * weight).sum(-2)
    best_legs, best_arms = (part.sum(-1).argmin(0) for part in residual.split((len(legs), len(arms)), -1))
    hips, shoulders = (
        torch.take_along_dim(joints[..., first : first + 2, :], best[None, ..., None, None], 0).squeeze(0)
        for first, best in ((0, best_legs), (len(legs), best_arms))
    )
    across_hips, across_shoulders = (pair[..., 0, :] - pair[..., 1, :] for pair in (hips, shoulders))
    opposed = (across_hips * across_shoulders).sum(-1, keepdim=True) < 0
    swap_legs, swap_arms = patterns[best_legs], patterns[best_arms] ^ opposed
    # A pattern and its opposite differ by rounding alone where the first view, which no pattern swaps, has no weight.
    first_usable = usable.to(torch.uint8).argmax(-1, keepdim=True)
    swaps_first = torch.take_along_dim(swap_legs, first_usable, -1)
    resolved = usable.sum(-1, keepdim=True) >= 2
    found = torch.zeros(keypoints_px.shape[:-1], dtype=torch.bool, device=keypoints_px.device)
    found[..., legs] = ((swap_legs ^ swaps_first) & resolved).unsqueeze(-1)
    found[..., arms] = ((swap_arms ^ swaps_first) & resolved).unsqueeze(-1)
    return found


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


def _patterns(num_views: int) -> Bool[Tensor, "patterns views"]:
    """All ways to swap some of the views but never the first; first none."""
    bit = torch.arange(num_views).flip(0)
    return (torch.arange(2 ** (num_views - 1))[:, None] >> bit & 1).bool()


def _sides(skeleton: Skeleton, group: tuple[str, ...]) -> list[int]:
    """The joints of both sides: left, right, left, right."""
    return [skeleton.index(f"{side}_{name}") for name in group for side in ("left", "right")]


def _distance(a: Float[Tensor, "poses joints 3"], b: Float[Tensor, "poses joints 3"]) -> Float[Tensor, " poses"]:
    return (a - b).square().sum(-1).sqrt().sum(-1)
