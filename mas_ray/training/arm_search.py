"""Arms by search: where upper arms and forearms would explain what the rest of the body leaves of the masks.

A mask loss moves an arm only along a gradient, and a raised arm's pixels are out of reach of one that hangs. So the
arms of a triangulated pose are looked for: many directions of upper arm and forearm, each judged by all views at once.
Beyond the paper.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from mas_ray.geometry.camera import Camera
from mas_ray.geometry.triangulation import per_view
from mas_ray.skeleton import Skeleton

# Shares of stature: Drillis and Contini (1966) as tabulated in Winter, Biomechanics and Motor Control of Human
# Movement, Fig. 4.1. The trunk is hip height to shoulder height.
_TRUNK, _UPPER_ARM, _FOREARM, _SHOULDER = 0.288, 0.186, 0.146, 0.129
_UPPER_ARM_AT = (0.35, 0.65, 1.0)
_FOREARM_AT = (0.25, 0.5, 0.75, 1.0, 1.3)
"""Where on the bones the masks are looked at, as shares of their length; the hand reaches beyond the wrist."""
_OUTSIDE = 0.15
"""What a look at the background costs; a look at a pixel that nothing else explains gives 1."""
_FAR_PER_M = 1.0
"""What a metre between found and predicted elbow, or wrist, costs: decides where the masks say nothing."""
_FOLDED = -0.5
"""Cosine between upper arm and forearm below which an elbow does not bend."""
_NUM_DIRECTIONS = 64


@torch.no_grad()
def search_arms(
    joints_mm: Float[Tensor, "batch joints 3"],
    *,
    mask: Float[Tensor, "batch views rows columns"],
    explained: Float[Tensor, "batch views rows columns"],
    camera: Camera,
    views: Bool[Tensor, "batch views"],
    skeleton: Skeleton,
) -> Float[Tensor, "batch joints 3"]:
    """Put each pose's shoulders, elbows and wrists where the masks want arms.

    Bones have the lengths of an average person whose trunk is as long as the pose's.

    Args:
        joints_mm: Triangulated poses, world.
        mask: Person masks.
        explained: What the body without its arms covers, 0 to 1: the physique mask of a bone set without arms.
        camera: Projects into the masks' NDC.
        views: The views to look at; a pose without any stays as it is.
        skeleton: The skeleton.
    """
    share = views.to(mask.dtype) / views.sum(-1, keepdim=True).clamp_min(1)
    inside = functional.avg_pool2d(mask, 5, stride=1, padding=2, count_include_pad=False)
    value = (mask - explained).clamp_min(0.0) - _OUTSIDE * (1.0 - inside)
    value = value * share[..., None, None]
    found = joints_mm.clone()
    thorax, pelvis = joints_mm[:, skeleton.index("thorax")], joints_mm[:, skeleton.index("pelvis")]
    stature_mm = (thorax - pelvis).norm(dim=-1, keepdim=True) / _TRUNK
    for side in ("left", "right"):
        shoulder, elbow, wrist = (skeleton.index(f"{side}_{joint}") for joint in ("shoulder", "elbow", "wrist"))
        aside = joints_mm[:, shoulder] - thorax
        distance = aside.norm(dim=-1, keepdim=True).clamp_min(1.0)
        start = thorax + aside / distance * distance.minimum(_SHOULDER * stature_mm)
        arm = _Arm(
            shoulder=start,
            length_mm=(_UPPER_ARM * stature_mm, _FOREARM * stature_mm),
            predicted=(joints_mm[:, elbow], joints_mm[:, wrist]),
        )
        upper, fore = _best(arm, _sphere(_NUM_DIRECTIONS, like=joints_mm), value=value, camera=camera)
        found[:, shoulder] = start
        found[:, elbow] = start + arm.length_mm[0] * upper
        found[:, wrist] = found[:, elbow] + arm.length_mm[1] * fore
    return torch.where(views.any(-1)[:, None, None], found, joints_mm)


class _Arm(NamedTuple):
    shoulder: Float[Tensor, "batch 3"]
    length_mm: tuple[Float[Tensor, "batch 1"], Float[Tensor, "batch 1"]]
    """Of upper arm and forearm."""
    predicted: tuple[Float[Tensor, "batch 3"], Float[Tensor, "batch 3"]]
    """Elbow and wrist before the search."""


def _best(
    arm: _Arm,
    directions: Float[Tensor, "directions 3"],
    *,
    value: Float[Tensor, "batch views rows columns"],
    camera: Camera,
) -> tuple[Float[Tensor, "batch 3"], Float[Tensor, "batch 3"]]:
    """The best pair of directions of upper arm and forearm."""
    upper_mm, fore_mm = (length[:, None] for length in arm.length_mm)
    upper, fore = upper_mm * directions, fore_mm * directions
    elbow = arm.shoulder[:, None] + upper
    along_upper, along_fore = elbow.new_tensor(_UPPER_ARM_AT), elbow.new_tensor(_FOREARM_AT)
    on_upper = arm.shoulder[:, None, None] + along_upper[:, None] * upper[:, :, None]
    on_fore = elbow[:, :, None, None] + along_fore[:, None] * fore[:, None, :, None]
    wrist = elbow[:, :, None] + fore[:, None]
    moved_m = (elbow - arm.predicted[0][:, None]).norm(dim=-1)[:, :, None] / 1000.0
    moved_m = moved_m + (wrist - arm.predicted[1][:, None, None]).norm(dim=-1) / 1000.0
    folded = directions @ directions.T < _FOLDED
    score = _look(value, camera, on_upper).sum(-1)[:, :, None] + _look(value, camera, on_fore).sum(-1)
    score = (score - _FAR_PER_M * moved_m).masked_fill(folded, -torch.inf)
    best = score.flatten(1).argmax(1)
    return directions[best // len(directions)], directions[best % len(directions)]


def _look(
    value: Float[Tensor, "batch views rows columns"], camera: Camera, points_mm: Float[Tensor, "batch *points 3"]
) -> Float[Tensor, " batch *points"]:
    """The sum over views of the map's value where each point is seen."""
    num_views = value.shape[1]
    seen = camera.project(per_view(points_mm.flatten(1, -2), num_views)).flatten(0, 1)[:, None]
    values = functional.grid_sample(
        value.flatten(0, 1)[:, None], seen, mode="nearest", padding_mode="border", align_corners=False
    )
    return values[:, 0, 0].unflatten(0, value.shape[:2]).sum(1).unflatten(1, points_mm.shape[1:-1])


def _sphere(num: int, *, like: Tensor) -> Float[Tensor, "directions 3"]:
    """Unit vectors spread evenly (a Fibonacci lattice)."""
    number = torch.arange(num, dtype=like.dtype, device=like.device) + 0.5
    z = 1 - 2 * number / num
    turn = math.pi * (1 + math.sqrt(5)) * number
    r = (1 - z * z).sqrt()
    return torch.stack([r * turn.cos(), r * turn.sin(), z], dim=-1)
