"""Integral regression: a volumetric heatmap's expectation (soft-argmax) as joint coordinates in NDC."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mas_ray.geometry.pixel_grid import pixel_centres_ndc


def soft_argmax(
    logits: Float[Tensor, "*batch joints depth height width"],
) -> tuple[Float[Tensor, "*batch joints 3"], Float[Tensor, "*batch joints"]]:
    """Expected (x, y, z) of each joint's heatmap in NDC, and how concentrated the heatmap is.

    The softmax runs over the whole volume in float32: a 262,144-way softmax in bfloat16 loses its tail.

    Returns:
        Coordinates in NDC, and a confidence in (0, 1]: exp(-variance) of x and y, with a standard deviation
        of a tenth of the image width as unit.
    """
    depth, height, width = logits.shape[-3:]
    probability = logits.float().flatten(-3).softmax(-1).unflatten(-1, (depth, height, width))
    plane = probability.sum(-3)
    p_x, p_y, p_z = plane.sum(-2), plane.sum(-1), probability.sum((-1, -2))
    x, variance_x = _moments(p_x)
    y, variance_y = _moments(p_y)
    z, _ = _moments(p_z)
    confidence = torch.exp(-(variance_x + variance_y) / (2 * 0.2**2))
    return torch.stack([x, y, z], dim=-1), confidence


def _moments(
    marginal: Float[Tensor, "*batch joints bins"],
) -> tuple[Float[Tensor, "*batch joints"], Float[Tensor, "*batch joints"]]:
    centres = pixel_centres_ndc(marginal.shape[-1], dtype=marginal.dtype, device=marginal.device)
    mean = marginal @ centres
    variance = marginal @ centres.square() - mean.square()
    return mean, variance.clamp_min(0.0)
