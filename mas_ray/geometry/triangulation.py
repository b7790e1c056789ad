"""n-view triangulation by the direct linear transform (Eq. 10), differentiable and stable in float32."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mas_ray.geometry.camera import Camera

_RIDGE = 1e-6  # of the trace of the normal equations: far above float32's rounding, far below what moves a joint
_RIDGE_FLOOR = 1e-12  # where no view has any weight
_NEAREST_M = 1e-3  # the depth that stands for any smaller or negative one, as in ``Camera.project``
_NEAREST_SHARE = 0.2  # and at least so much of the joint's largest depth, lest one view outweigh all others


def triangulate(
    keypoints_px: Float[Tensor, "*batch views joints 2"],
    camera: Camera,
    weight: Float[Tensor, "*batch views joints"],
) -> Float[Tensor, "*batch joints 3"]:
    """World positions whose projections are nearest to the keypoints of all views.

    An equation of the linear system is an error in the image times the depth. So there are two passes, and the
    second divides by the depths at the first one's positions. No gradient passes through the depths.

    Solves the inhomogeneous normal equations in normalised camera coordinates and metres about the rig's
    centre: formed from pixels and millimetres they lose all digits of float32. There is no singular value
    decomposition, hence no exploding gradient where singular values meet. Autocast has no effect.

    Args:
        keypoints_px: Positions in each view, pixels of the image that ``camera`` is of.
        camera: One camera per view, batch shape ``*batch views``.
        weight: Weight of each observation; 0 removes it. With less than two views of weight the answer is
            finite but means nothing.

    Returns:
        Positions in world millimetres.
    """
    with torch.autocast(keypoints_px.device.type, enabled=False):
        centre_mm = _rig_centre(camera)
        t_m = (camera.t_mm + (camera.R @ centre_mm[..., None, :, None]).squeeze(-1)) / 1000.0
        pose = torch.cat([camera.R, t_m.unsqueeze(-1)], dim=-1).unsqueeze(-3)
        ones = torch.ones_like(keypoints_px[..., :1])
        rays = torch.cat([keypoints_px, ones], dim=-1) @ torch.linalg.inv(camera.K).transpose(-1, -2)
        # The equations u p3 - p1 and v p3 - p2 of every view, p being the rows of its pose.
        equations = rays[..., :2, None] * pose[..., 2:, :] - pose[..., :2, :]
        squared = equations.transpose(-1, -2) @ equations
        with torch.no_grad():
            first_m = _minimum(squared, weight, torch.zeros_like(squared[..., 0, :, :3, 3]))
            depth_m = (pose[..., 2, :3] * first_m.unsqueeze(-3)).sum(-1) + pose[..., 2, 3]
            farthest_m = torch.where(weight > 0, depth_m, 0.0).amax(-2, keepdim=True)
            depth_m = depth_m.maximum(_NEAREST_SHARE * farthest_m).clamp_min(_NEAREST_M)
        # Towards the first pass instead of the rig's centre, the ridge hardly moves the result.
        points_m = _minimum(squared, weight / depth_m.square(), first_m)
        return points_m * 1000.0 + centre_mm.unsqueeze(-2)


def per_view(points_mm: Float[Tensor, "*batch joints 3"], num_views: int) -> Float[Tensor, "*batch views joints 3"]:
    """The same world points once per view, ready for ``Camera.project``."""
    expanded = points_mm.unsqueeze(-3)
    return expanded.expand(*points_mm.shape[:-2], num_views, *points_mm.shape[-2:])


def _minimum(
    squared: Float[Tensor, "*batch views joints 4 4"],
    weight: Float[Tensor, "*batch views joints"],
    guess: Float[Tensor, "*batch joints 3"],
) -> Float[Tensor, "*batch joints 3"]:
    """Where the weighted sum of the squared errors (x, 1)ᵀ squared (x, 1) is smallest.

    A ridge towards the guess keeps the normal equations from being singular, however few or equal the views.
    """
    total = (squared * weight[..., None, None]).sum(-4)
    normal = total[..., :3, :3]
    ridge = _RIDGE * normal.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True) + _RIDGE_FLOOR
    right = ridge * guess - total[..., :3, 3]
    return torch.linalg.solve(normal + torch.diag_embed(ridge.expand_as(guess)), right)


def _rig_centre(camera: Camera) -> Float[Tensor, "*batch 3"]:
    centres = -(camera.R.transpose(-1, -2) @ camera.t_mm.unsqueeze(-1)).squeeze(-1)
    return centres.mean(dim=-2)
