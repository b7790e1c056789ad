"""2D affine maps in NDC: drawing them at random, applying them to points, warping images by them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def apply_affine(
    affine: Float[Tensor, "*batch 2 3"], points: Float[Tensor, "*batch joints 2"]
) -> Float[Tensor, "*batch joints 2"]:
    """Map points by an affine map."""
    return points @ affine[..., :2].transpose(-1, -2) + affine[..., 2].unsqueeze(-2)


def invert_affine(affine: Float[Tensor, "*batch 2 3"]) -> Float[Tensor, "*batch 2 3"]:
    """The inverse map."""
    linear = torch.linalg.inv(affine[..., :2])
    return torch.cat([linear, -linear @ affine[..., 2:]], dim=-1)


def warp_images(
    images: Float[Tensor, "batch channels height width"], input_from_output: Float[Tensor, "batch 2 3"]
) -> Float[Tensor, "batch channels height width"]:
    """Resample images: the output at NDC position p shows the input at ``input_from_output(p)``; zero outside."""
    grid = F.affine_grid(input_from_output, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def random_affines(num: int, scale: float, generator: torch.Generator) -> Float[Tensor, "batch 2 3"]:
    """Identity plus independent normal noise of standard deviation ``scale`` on every entry."""
    identity = torch.eye(2, 3)
    return identity + scale * torch.randn(num, 2, 3, generator=generator)
