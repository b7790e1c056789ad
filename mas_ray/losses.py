"""The losses as pure functions. Each returns one number per view or frame set; weights are applied elsewhere.

Keypoints are in NDC of the crop. Lengths of the figure are in units of the mask's height.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mas_ray.skeleton import Skeleton

# Average lengths of the chain from pelvis to head (Eq. 12 names the bones, not the numbers), as shares of stature.
# Heights of Drillis and Contini (1966) as tabulated in Winter, Biomechanics and Motor Control of Human Movement,
# Fig. 4.1: hip 0.530, shoulder 0.818, chin 0.870, eyes 0.936, crown 1. Halfway between two of them: the spine (hip and
# shoulder), the neck (shoulder and chin) and the nose (chin and eyes).
_CHAIN = (
    ("spine", "pelvis", 0.144),
    ("thorax", "spine", 0.144),
    ("neck", "thorax", 0.026),
    ("nose", "neck", 0.059),
    ("head", "nose", 0.097),
)
_HUBER_NDC = 0.05
_SYMMETRIC = (("left_shoulder", "right_shoulder", "thorax"), ("left_hip", "right_hip", "pelvis"))
_THIGH_SHARE = 0.499  # of the leg, from the same table: thigh 0.245 and shank 0.246 of stature
_LIMBS = (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))


def mask_reconstruction(
    drawn: Float[Tensor, "*batch height width"],
    mask: Float[Tensor, "*batch height width"],
    weight: Float[Tensor, "*batch height width"],
) -> Float[Tensor, "*batch"]:
    """Weighted squared difference of a drawn and the true mask, mean over pixels (Eq. 5, 7 and 9)."""
    return (weight * (drawn - mask).square()).mean((-1, -2))


def bone_length(
    keypoints_ndc: Float[Tensor, "*batch joints 2"],
    figure_height_ndc: Float[Tensor, "*batch"],
    skeleton: Skeleton,
) -> Float[Tensor, "*batch"]:
    """Squared deviation of the trunk's and head's 2D bone lengths from human averages (Eq. 12), summed."""
    pairs = torch.tensor([(skeleton.index(a), skeleton.index(b)) for a, b, _ in _CHAIN])
    expected = torch.tensor([share for _, _, share in _CHAIN]).to(keypoints_ndc)
    bones = keypoints_ndc[..., pairs[:, 0], :] - keypoints_ndc[..., pairs[:, 1], :]
    lengths = _length(bones) / figure_height_ndc.unsqueeze(-1)
    return (lengths - expected).square().sum(-1)


def equivariance(
    keypoints_of_warped: Float[Tensor, "*batch joints 2"], warped_keypoints: Float[Tensor, "*batch joints 2"]
) -> Float[Tensor, "*batch"]:
    """Squared distance between detecting after and before an affine map (Eq. 13), mean over joints."""
    return (keypoints_of_warped - warped_keypoints).square().sum(-1).mean(-1)


def symmetry(keypoints_ndc: Float[Tensor, "*batch joints 2"], skeleton: Skeleton) -> Float[Tensor, "*batch"]:
    """Squared distance of shoulders' and hips' midpoints to thorax and pelvis (Eq. 14), mean over coordinates."""
    left, right, centre = (
        keypoints_ndc[..., [skeleton.index(row[column]) for row in _SYMMETRIC], :] for column in range(3)
    )
    return ((left + right) / 2 - centre).square().mean((-1, -2))


def spine_midpoint(keypoints_ndc: Float[Tensor, "*batch joints 2"], skeleton: Skeleton) -> Float[Tensor, "*batch"]:
    """Squared distance of the spine joint to the middle of pelvis and thorax.

    Beyond the paper: without it the trunk's joints are used as strokes to fill the trunk.
    """
    pelvis, spine, thorax = (keypoints_ndc[..., skeleton.index(name), :] for name in ("pelvis", "spine", "thorax"))
    return ((pelvis + thorax) / 2 - spine).square().mean(-1)


def anchor(
    keypoints_ndc: Float[Tensor, "*batch joints 2"],
    target_ndc: Float[Tensor, "*batch joints 2"],
    joint_weight: Float[Tensor, " joints"],
) -> Float[Tensor, "*batch"]:
    """Squared distance to the warm-up target (supplement A.3), mean over the joints it is given for."""
    squared = (keypoints_ndc - target_ndc).square().sum(-1)
    return (squared * joint_weight).sum(-1) / joint_weight.sum()


def tied_limbs(keypoints_ndc: Float[Tensor, "*batch joints 2"], skeleton: Skeleton) -> Float[Tensor, "*batch"]:
    """Squared distance between left and right elbow and wrist (supplement A.3), mean over coordinates."""
    left, right = (_of_side(keypoints_ndc, side, ("elbow", "wrist"), skeleton) for side in ("left", "right"))
    return (left - right).square().mean((-1, -2))


def agreement(
    keypoints_ndc: Float[Tensor, "*batch joints 2"], target_ndc: Float[Tensor, "*batch joints 2"]
) -> Float[Tensor, "*batch"]:
    """Huber distance of keypoints to where triangulated joints are seen, mean over joints. Beyond the paper.

    The target passes no gradient. A wrong target, such as one with left and right exchanged, pulls no harder the
    farther it is.
    """
    distance = _length(keypoints_ndc - target_ndc.detach())
    return _huber(distance).mean(-1)


def depth(
    depth_ndc: Float[Tensor, "*batch joints"], target_depth_ndc: Float[Tensor, "*batch joints"]
) -> Float[Tensor, "*batch"]:
    """Huber distance of the heatmap's depth to that of triangulated joints, mean over joints.

    Beyond the paper: its losses are all 2D and give the depth axis no gradient. The target passes none.
    """
    return _huber(depth_ndc - target_depth_ndc.detach().clamp(-1.0, 1.0)).mean(-1)


def limb_equality(joints_mm: Float[Tensor, "*batch joints 3"], skeleton: Skeleton) -> Float[Tensor, "*batch"]:
    """Squared difference of left and right limb lengths of triangulated joints, in metres, mean over limbs.

    Beyond the paper: it keeps a knee from sliding along a straight leg.
    """
    starts, ends = zip(*_LIMBS, strict=True)
    left, right = (
        _length(_of_side(joints_mm, side, starts, skeleton) - _of_side(joints_mm, side, ends, skeleton))
        for side in ("left", "right")
    )
    return ((left - right) / 1000.0).square().clamp_max(1.0).mean(-1)


def leg_proportions(joints_mm: Float[Tensor, "*batch joints 3"], skeleton: Skeleton) -> Float[Tensor, "*batch"]:
    """Squared deviation of the thigh's share of a leg from the average person's, mean over both legs.

    Beyond the paper: along a straight leg a mask does not say where the knee is.
    """
    legs = torch.stack([_of_side(joints_mm, side, ("hip", "knee", "ankle"), skeleton) for side in ("left", "right")])
    thigh, shank = _length(legs[..., :-1, :] - legs[..., 1:, :]).unbind(-1)
    return (thigh / (thigh + shank) - _THIGH_SHARE).square().mean(0)


def _of_side(
    positions: Float[Tensor, "*batch joints axes"], side: str, names: Sequence[str], skeleton: Skeleton
) -> Float[Tensor, "*batch named axes"]:
    return positions[..., [skeleton.index(f"{side}_{name}") for name in names], :]


def _huber(distance: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return torch.nn.functional.huber_loss(distance, torch.zeros_like(distance), delta=_HUBER_NDC, reduction="none")


def _length(vector: Float[Tensor, "*batch axes"]) -> Float[Tensor, "*batch"]:
    return (vector.square().sum(-1) + 1e-12).sqrt()
