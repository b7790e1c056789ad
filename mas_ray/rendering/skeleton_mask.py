"""Keypoints to a skeleton mask (Eq. 4-5): every bone a soft line, merged by the per-pixel maximum.

The text of the paper sums the bones; the sum exceeds 1 where bones meet. The maximum stays in [0, 1].
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mas_ray.config.cascade import StageConfig
from mas_ray.geometry.pixel_grid import pixel_centres_ndc
from mas_ray.rendering.segment_distance import squared_distance
from mas_ray.skeleton import Skeleton


def skeleton_mask(
    keypoints_ndc: Float[Tensor, "*batch joints 2"],
    bones: Int[Tensor, "bones 2"],
    bone_widths: Float[Tensor, " bones"],
    *,
    size: int,
) -> Float[Tensor, "*batch height width"]:
    """Draw the bones on a ``size`` x ``size`` map.

    Only the bone that wins a pixel gets that pixel's gradient, so the winner is found without gradients, bone by
    bone, and its distance alone is differentiated: memory does not grow with the number of bones.

    Args:
        keypoints_ndc: 2D joint positions.
        bones: Joint index pairs.
        bone_widths: Sigma of each bone in NDC: the mask falls to exp(-1) at that distance.
        size: Side of the map in pixels.
    """
    keypoints = keypoints_ndc.reshape(-1, *keypoints_ndc.shape[-2:])
    centres = pixel_centres_ndc(size, dtype=keypoints.dtype, device=keypoints.device)
    x, y = centres[None, None, :], centres[None, :, None]
    with torch.no_grad():
        nearest = torch.full((len(keypoints), size, size), torch.inf, dtype=keypoints.dtype, device=keypoints.device)
        winner = torch.zeros(nearest.shape, dtype=torch.long, device=keypoints.device)
        for index, (bone, width) in enumerate(zip(bones.tolist(), bone_widths.tolist(), strict=True)):
            start, end = keypoints[:, None, None, bone[0]], keypoints[:, None, None, bone[1]]
            distance = squared_distance(x, y, start, end) / width**2
            closer = distance < nearest
            nearest = torch.where(closer, distance, nearest)
            winner.masked_fill_(closer, index)
    which = torch.arange(len(keypoints), device=keypoints.device)[:, None, None]
    start = keypoints[which, bones[:, 0][winner]]
    end = keypoints[which, bones[:, 1][winner]]
    scaled = squared_distance(x, y, start, end) / bone_widths.to(keypoints)[winner].square()
    return torch.exp(-scaled).reshape(*keypoints_ndc.shape[:-2], size, size)


def stage_bones(stage: StageConfig, skeleton: Skeleton) -> tuple[Int[Tensor, "bones 2"], Float[Tensor, " bones"]]:
    """The joint pairs that a stage draws and the width of each."""
    widths = [stage.arm_bone_width if arm else stage.bone_width for arm in skeleton.is_arm_bone(stage.bone_set)]
    return torch.tensor(skeleton.bones(stage.bone_set)), torch.tensor(widths)
