"""Weak perspective: keypoints and relative depths of one view as a pose in millimetres, by the length of all bones.

A single view knows no scale. Seen from far enough, the picture is a parallel projection times one: the one at which the
bones together are as long as a person's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

_BISECTIONS = 40


def lift(
    keypoints_px: Float[Tensor, "*batch joints 2"],
    depth_mm: Float[Tensor, "*batch joints"],
    *,
    parents: Sequence[int],
    bones_mm: float,
) -> Float[Tensor, "*batch joints 3"]:
    """Joints about their root in the camera's axes (x right, y down, z away), millimetres.

    The scale s, millimetres per pixel, solves ``sum of sqrt(s^2 |d_px|^2 + d_z^2) = bones_mm`` over the bones of the
    tree: the left side grows with s, so there is one or none.

    Args:
        keypoints_px: Keypoints in the picture.
        depth_mm: Depths about any joint.
        parents: The tree; -1 for the root.
        bones_mm: Length of all its bones together.

    Returns:
        The pose; NaN where something is, where the depths alone are longer than the bones, or nothing is apart in the
        picture.
    """
    child = [joint for joint, parent in enumerate(parents) if parent >= 0]
    parent = [parents[joint] for joint in child]
    root = list(parents).index(-1)
    across_px = torch.linalg.vector_norm(keypoints_px[..., child, :] - keypoints_px[..., parent, :], dim=-1)
    along_mm = depth_mm[..., child] - depth_mm[..., parent]
    low = torch.zeros_like(across_px[..., 0])
    high = bones_mm / across_px.sum(-1)  # without any depth
    solvable = (along_mm.abs().sum(-1) < bones_mm) & high.isfinite()
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        too_long = torch.hypot(middle[..., None] * across_px, along_mm).sum(-1) > bones_mm
        low, high = torch.where(too_long, low, middle), torch.where(too_long, middle, high)
    scale = torch.where(solvable, (low + high) / 2, torch.nan)
    pose = torch.cat([keypoints_px * scale[..., None, None], depth_mm[..., None]], dim=-1)
    return torch.where(solvable[..., None, None], pose - pose[..., root : root + 1, :], torch.nan)
