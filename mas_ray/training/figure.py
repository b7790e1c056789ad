"""What a mask alone says of a standing person: its centroid and height, and the warm-up targets made of them."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mas_ray.geometry.pixel_grid import pixel_centres_ndc
from mas_ray.skeleton import Skeleton

# Height above the ground and distance from the midline as shares of stature, arms a little spread: Drillis and
# Contini (1966) as tabulated in Winter, Biomechanics and Motor Control of Human Movement, Fig. 4.1.
_UPRIGHT = {
    "pelvis": (0.530, 0.0),
    "hip": (0.530, 0.080),
    "knee": (0.285, 0.090),
    "ankle": (0.039, 0.100),
    "spine": (0.674, 0.0),
    "thorax": (0.818, 0.0),
    "neck": (0.850, 0.0),
    "nose": (0.915, 0.0),
    "head": (0.985, 0.0),
    "shoulder": (0.818, 0.115),
    "elbow": (0.630, 0.150),
    "wrist": (0.485, 0.180),
}
_THORAX_ABOVE_CENTROID = 0.276  # share of stature: 0.47 m of 1.70 m


def centroid_and_box(
    mask: Float[Tensor, "*batch rows columns"],
) -> tuple[Float[Tensor, "*batch 2"], Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Centroid, top and bottom of masks in NDC. An empty mask gives the image's centre and whole height."""
    size = mask.shape[-1]
    centres = pixel_centres_ndc(size, dtype=mask.dtype, device=mask.device)
    area = mask.sum((-1, -2)).clamp_min(1e-6)
    x = (mask.sum(-2) @ centres) / area
    y = (mask.sum(-1) @ centres) / area
    occupied = (mask > 0.5).any(-1)
    top = torch.where(occupied, centres, torch.inf).amin(-1) - 1.0 / size
    bottom = torch.where(occupied, centres, -torch.inf).amax(-1) + 1.0 / size
    found = occupied.any(-1)
    top, bottom = torch.where(found, top, -1.0), torch.where(found, bottom, 1.0)
    return torch.stack([x, y], dim=-1), top, bottom


def warm_up_target(
    mask: Float[Tensor, "*batch rows columns"], kind: Literal["torso", "stick"], skeleton: Skeleton
) -> tuple[Float[Tensor, "*batch joints 2"], Float[Tensor, " joints"]]:
    """Where the joints should start, and the weight of each joint.

    ``torso`` (supplement A.3): the pelvis at the mask's centroid, the thorax a fixed offset above it. ``stick``:
    every joint on an upright figure that fills the mask's box; it has no sides to tell apart, because left is
    drawn to the image's right in every view.
    """
    centroid, top, bottom = centroid_and_box(mask)
    height = bottom - top
    target = torch.zeros(*mask.shape[:-2], skeleton.num_joints, 2, dtype=mask.dtype, device=mask.device)
    weight = torch.zeros(skeleton.num_joints, dtype=mask.dtype, device=mask.device)
    if kind == "torso":
        pelvis, thorax = skeleton.index("pelvis"), skeleton.index("thorax")
        target[..., pelvis, :] = centroid
        target[..., thorax, 0] = centroid[..., 0]
        target[..., thorax, 1] = centroid[..., 1] - _THORAX_ABOVE_CENTROID * height
        weight[[pelvis, thorax]] = 1.0
        return target, weight
    for index, joint in enumerate(skeleton.joints):
        share, aside = _UPRIGHT[joint.split("_")[-1]]
        side = 1.0 if joint.startswith("left_") else -1.0
        target[..., index, 0] = centroid[..., 0] + side * aside * height
        target[..., index, 1] = bottom - share * height
    return target, torch.ones_like(weight)
