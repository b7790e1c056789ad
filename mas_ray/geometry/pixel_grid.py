"""The one coordinate convention: pixel centres at integers, NDC over pixel edges.

``ndc = (2 u + 1) / size - 1`` (torch's ``align_corners=False``): pixel 0's centre is half a pixel inside -1.
A heatmap's bin k is pixel k of a grid that wide. No other module writes these formulas.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def ndc_from_pixel(pixel: Float[Tensor, "*shape"], size: int) -> Float[Tensor, "*shape"]:
    """NDC coordinate of a pixel coordinate on an axis of ``size`` pixels."""
    return (2.0 * pixel + 1.0) / size - 1.0


def pixel_from_ndc(ndc: Float[Tensor, "*shape"], size: int) -> Float[Tensor, "*shape"]:
    """Pixel coordinate of an NDC coordinate on an axis of ``size`` pixels."""
    return ((ndc + 1.0) * size - 1.0) / 2.0


def pixel_centres_ndc(
    size: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Float[Tensor, " size"]:
    """NDC coordinates of the pixel centres of an axis."""
    return ndc_from_pixel(torch.arange(size, dtype=dtype, device=device), size)


def ndc_from_pixel_matrix(size: int) -> Float[Tensor, "3 3"]:
    """``ndc_from_pixel`` for both axes of a square image, as a matrix on homogeneous pixels (float64)."""
    scale, offset = 2.0 / size, 1.0 / size - 1.0
    return torch.tensor([[scale, 0.0, offset], [0.0, scale, offset], [0.0, 0.0, 1.0]], dtype=torch.float64)
