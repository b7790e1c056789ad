"""Integral regression: a volumetric heatmap's expectation (soft-argmax) as joint coordinates in NDC.

Position and spread along an axis depend on the heatmap's marginal there alone, so the volume is read only to sum
its softmax onto the three axes. The softmax itself is never stored: the backward pass computes it anew, in pieces
that stay in the processor's cache, which takes less time than to write the whole volume out and read it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from mas_ray.geometry.pixel_grid import pixel_centres_ndc

_SPREAD_NDC = 0.2  # a tenth of the image's width: the unit of the standard deviation in the confidence
_CPU_PIECE = 2**18  # cells, 1 MiB: about a processor's second-level cache
_GPU_PIECE = 2**24  # cells: enough to fill the device, little beside its memory


def soft_argmax(
    logits: Float[Tensor, "*batch joints depth height width"],
) -> tuple[Float[Tensor, "*batch joints 3"], Float[Tensor, "*batch joints"]]:
    """Expected (x, y, z) of each joint's heatmap in NDC, and how concentrated the heatmap is.

    The softmax runs over the whole volume and at least in float32, under autocast too: a 262,144-way softmax in
    bfloat16 loses its tail. Both results are differentiable, once.

    Returns:
        Coordinates in NDC, and a confidence in (0, 1]: exp(-variance) of x and y, with a standard deviation
        of a tenth of the image width as unit.
    """
    return _of_marginals(_Marginals.apply(logits))


def plain_soft_argmax(
    logits: Float[Tensor, "*batch joints depth height width"],
) -> tuple[Float[Tensor, "*batch joints 3"], Float[Tensor, "*batch joints"]]:
    """``soft_argmax`` by operations that every exporter knows, the whole softmax written out."""
    probability = logits.flatten(-3).softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    probability = probability.unflatten(-1, logits.shape[-3:])
    plane = probability.sum(-3)
    return _of_marginals((plane.sum(-2), plane.sum(-1), probability.sum((-2, -1))))


def _of_marginals(
    marginals: tuple[Tensor, Tensor, Tensor],
) -> tuple[Float[Tensor, "*batch joints 3"], Float[Tensor, "*batch joints"]]:
    (x, variance_x), (y, variance_y), (z, _) = (_moments(marginal) for marginal in marginals)
    confidence = torch.exp(-(variance_x + variance_y) / (2 * _SPREAD_NDC**2))
    return torch.stack([x, y, z], dim=-1), confidence


def _moments(
    marginal: Float[Tensor, "*batch joints bins"],
) -> tuple[Float[Tensor, "*batch joints"], Float[Tensor, "*batch joints"]]:
    """Mean and variance in NDC. Sums, not matrix products, which autocast would take to bfloat16."""
    centres = pixel_centres_ndc(marginal.shape[-1], dtype=marginal.dtype, device=marginal.device)
    mean = (marginal * centres).sum(-1)
    variance = (marginal * (centres - mean.unsqueeze(-1)).square()).sum(-1)
    return mean, variance


class _Marginals(torch.autograd.Function):
    """The softmax over each volume, summed onto its x, y and z axis.

    With g the gradient of the marginals, that of the logits is p (g_x + g_y + g_z - E[g_x + g_y + g_z]).
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        volumes = logits.flatten(0, -4)
        sums: list[tuple[Tensor, Tensor, Tensor]] = []
        for piece in _pieces(volumes):
            probability = _softmax(volumes[piece])
            plane = probability.sum(-3)
            sums.append((plane.sum(-2), plane.sum(-1), probability.flatten(-2).sum(-1)))
        p_x, p_y, p_z = (torch.cat(parts) for parts in zip(*sums, strict=True))
        ctx.save_for_backward(logits, p_x, p_y, p_z)
        batch = logits.shape[:-3]
        return p_x.unflatten(0, batch), p_y.unflatten(0, batch), p_z.unflatten(0, batch)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        logits, p_x, p_y, p_z = ctx.saved_tensors
        volumes = logits.flatten(0, -4)
        g_x, g_y, g_z = (g.flatten(0, -2) for g in grad_outputs)
        expected = (g_x * p_x).sum(-1) + (g_y * p_y).sum(-1) + (g_z * p_z).sum(-1)
        plane = g_x[:, None, None, :] + g_y[:, None, :, None] - expected[:, None, None, None]
        line = g_z[:, :, None, None]
        gradient = torch.empty_like(volumes)
        for piece in _pieces(volumes):
            torch.mul(_softmax(volumes[piece]), plane[piece] + line[piece], out=gradient[piece])
        return gradient.unflatten(0, logits.shape[:-3])


def _pieces(volumes: Float[Tensor, "volumes depth height width"]) -> Iterator[slice]:
    """Ranges of whole volumes; one, empty, where there are none."""
    cells = _CPU_PIECE if volumes.device.type == "cpu" else _GPU_PIECE
    step = max(1, cells // volumes.shape[1:].numel())
    return (slice(start, start + step) for start in range(0, max(1, len(volumes)), step))


def _softmax(volumes: Float[Tensor, "volumes depth height width"]) -> Float[Tensor, "volumes depth height width"]:
    dtype = torch.promote_types(volumes.dtype, torch.float32)
    return volumes.flatten(1).softmax(-1, dtype=dtype).unflatten(-1, volumes.shape[1:])
