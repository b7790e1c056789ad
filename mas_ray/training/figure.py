"""What masks alone say of a standing person: centroid, up and height, and the warm-up targets made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from mas_ray.geometry.camera import Camera
from mas_ray.geometry.pixel_grid import pixel_centres_ndc
from mas_ray.geometry.triangulation import per_view, triangulate
from mas_ray.skeleton import Skeleton

# Height above the ground and distance from the midline as shares of stature. Heights: Drillis and Contini (1966) as
# tabulated in Winter, Biomechanics and Motor Control of Human Movement, Fig. 4.1; trunk and head as in losses.py.
# Distances: ours, limbs a little spread, hips and shoulders inside the table's breadths as joints lie inside the flesh.
_UPRIGHT = {
    "pelvis": (0.530, 0.0),
    "hip": (0.530, 0.080),
    "knee": (0.285, 0.090),
    "ankle": (0.039, 0.100),
    "spine": (0.674, 0.0),
    "thorax": (0.818, 0.0),
    "neck": (0.844, 0.0),
    "nose": (0.903, 0.0),
    "head": (1.000, 0.0),
    "shoulder": (0.818, 0.115),
    "elbow": (0.632, 0.150),
    "wrist": (0.486, 0.180),
}
_NOWHERE = 1e6  # NDC, farther than any pixel
_THORAX_ABOVE_CENTROID = 0.288  # share of stature: shoulder height less hip height


@dataclass(frozen=True, kw_only=True, eq=False)
class Stance:
    """How the figure in a mask stands, in NDC: its centroid, which way is up, and how far it reaches that way."""

    centroid: Float[Tensor, "*batch 2"]
    up: Float[Tensor, "*batch 2"]
    """Unit vector."""
    low: Float[Tensor, "*batch"]
    """Signed distance from the centroid to the figure's lower end along ``up``; negative."""
    high: Float[Tensor, "*batch"]

    @property
    def height(self) -> Float[Tensor, "*batch"]:
        """Length of the figure along ``up``."""
        return self.high - self.low


def mask_centroid(mask: Float[Tensor, "*batch rows columns"]) -> Float[Tensor, "*batch 2"]:
    """Centroid of masks in NDC; an empty mask gives the image's centre."""
    centres = pixel_centres_ndc(mask.shape[-1], dtype=mask.dtype, device=mask.device)
    area = mask.sum((-1, -2)).clamp_min(1e-6)
    return torch.stack([mask.sum(-2) @ centres, mask.sum(-1) @ centres], dim=-1) / area.unsqueeze(-1)


def stance(
    mask: Float[Tensor, "batch views rows columns"], camera: Camera, calibrated: Bool[Tensor, "batch views"]
) -> Stance:
    """How the figure stands in every view.

    Cameras are mounted upright on the whole, so the mean of their up directions is up in the world; projected at the
    body it is up in each view, however a single camera is rolled. With less than two calibrated views, up is the
    image's.
    """
    centroid = mask_centroid(mask)
    up = _projected_up(centroid, camera, calibrated)
    centres = pixel_centres_ndc(mask.shape[-1], dtype=mask.dtype, device=mask.device)
    x, y = centres - centroid[..., :1], centres - centroid[..., 1:]
    along = (x * up[..., :1]).unsqueeze(-2) + (y * up[..., 1:]).unsqueeze(-1)
    beyond = mask.le(0.5).to(mask.dtype) * _NOWHERE  # numbers, not booleans: choosing is slow on a CPU
    low, high = (along + beyond).amin((-1, -2)), (along - beyond).amax((-1, -2))
    found = low < _NOWHERE / 2
    return Stance(centroid=centroid, up=up, low=torch.where(found, low, -1.0), high=torch.where(found, high, 1.0))


def warm_up_target(
    figure: Stance, kind: Literal["torso", "stick"], skeleton: Skeleton
) -> tuple[Float[Tensor, "*batch joints 2"], Float[Tensor, " joints"]]:
    """Where the joints should start, and the weight of each joint.

    ``torso`` (supplement A.3): the pelvis at the mask's centroid, the thorax a fixed offset above it. ``stick``:
    every joint on an upright figure as tall as the mask; it has no sides to tell apart, because left is drawn to the
    image's right in every view.
    """
    centroid, up, height = figure.centroid, figure.up, figure.height.unsqueeze(-1)
    right = torch.stack([-up[..., 1], up[..., 0]], dim=-1)
    weight = torch.zeros(skeleton.num_joints, dtype=centroid.dtype, device=centroid.device)
    if kind == "torso":
        places = {"pelvis": centroid, "thorax": centroid + _THORAX_ABOVE_CENTROID * height * up}
    else:
        places = {}
        feet = centroid + figure.low.unsqueeze(-1) * up
        for joint in skeleton.joints:
            share, aside = _UPRIGHT[joint.split("_")[-1]]
            side = 1.0 if joint.startswith("left_") else -1.0
            places[joint] = feet + height * (share * up + side * aside * right)
    weight[[skeleton.index(joint) for joint in places]] = 1.0
    return torch.stack([places.get(joint, centroid) for joint in skeleton.joints], dim=-2), weight


def _projected_up(
    centroid: Float[Tensor, "batch views 2"], camera: Camera, calibrated: Bool[Tensor, "batch views"]
) -> Float[Tensor, "batch views 2"]:
    used = calibrated & (calibrated.sum(-1, keepdim=True) >= 2)
    weight = used.unsqueeze(-1).to(centroid.dtype)
    up_world = functional.normalize(-(camera.R[..., 1, :] * weight).sum(-2), dim=-1)
    middle = triangulate(centroid.unsqueeze(-2), camera, weight)
    num_views = centroid.shape[-2]
    middle_and_above = torch.cat([middle, middle + 300.0 * up_world.unsqueeze(-2)], dim=-2)
    from_middle, to_above = camera.project(per_view(middle_and_above, num_views)).unbind(-2)
    projected = functional.normalize(to_above - from_middle, dim=-1)
    image_up = centroid.new_tensor([0.0, -1.0])
    return torch.where(used.unsqueeze(-1), projected, image_up)
