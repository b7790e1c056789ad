"""n-view triangulation by the direct linear transform (Eq. 10), differentiable and stable in float32."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mas_ray.geometry.camera import Camera

_RIDGE = 2e-7  # of the trace of the normal equations: finite gradients where views repeat or are missing


def triangulate(
    keypoints_px: Float[Tensor, "*batch views joints 2"],
    camera: Camera,
    weight: Float[Tensor, "*batch views joints"],
) -> Float[Tensor, "*batch joints 3"]:
    """World positions whose projections are nearest to the keypoints of all views.

    Solves the inhomogeneous normal equations in normalised camera coordinates and metres about the rig's
    centre: formed from pixels and millimetres they lose all digits of float32. There is no singular value
    decomposition, hence no exploding gradient where singular values meet.

    Args:
        keypoints_px: Positions in each view, pixels of the image that ``camera`` is of.
        camera: One camera per view, batch shape ``*batch views``.
        weight: Weight of each observation; 0 removes it. With less than two views of weight the answer is
            finite but means nothing.

    Returns:
        Positions in world millimetres.
    """
    ones = torch.ones_like(keypoints_px[..., :1])
    rays = torch.cat([keypoints_px, ones], dim=-1) @ torch.linalg.inv(camera.K).transpose(-1, -2)
    centre_mm = _rig_centre(camera)
    t_m = (camera.t_mm + (camera.R @ centre_mm.unsqueeze(-2).unsqueeze(-1)).squeeze(-1)) / 1000.0
    # Rows u * r3 - r1 and v * r3 - r2 of every view, on the left the rotation, on the right the translation.
    rotation = rays[..., :2, None] * camera.R[..., None, 2:3, :] - camera.R[..., None, :2, :]
    translation = rays[..., :2] * t_m[..., None, 2:3] - t_m[..., None, :2]
    normal = torch.einsum("...vjri,...vjrk,...vj->...jik", rotation, rotation, weight)
    right = -torch.einsum("...vjri,...vjr,...vj->...ji", rotation, translation, weight)
    trace = normal.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    identity = torch.eye(3, dtype=normal.dtype, device=normal.device)
    points_m = torch.linalg.solve(normal + (_RIDGE * trace + 1e-12) * identity, right.unsqueeze(-1)).squeeze(-1)
    return points_m * 1000.0 + centre_mm.unsqueeze(-2)


def _rig_centre(camera: Camera) -> Float[Tensor, "*batch 3"]:
    centres = -(camera.R.transpose(-1, -2) @ camera.t_mm.unsqueeze(-1)).squeeze(-1)
    return centres.mean(dim=-2)


def per_view(points_mm: Float[Tensor, "*batch joints 3"], num_views: int) -> Float[Tensor, "*batch views joints 3"]:
    """The same world points once per view, ready for ``Camera.project``."""
    expanded = points_mm.unsqueeze(-3)
    return expanded.expand(*points_mm.shape[:-2], num_views, *points_mm.shape[-2:])
