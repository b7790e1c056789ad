"""Alignments of predicted to reference joints: root-centring, optimal scale, Procrustes.

Joints that are not ``valid`` have no influence and may hold anything, NaN included.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def root_centred(joints: Float[Tensor, "*batch joints 3"], root: int) -> Float[Tensor, "*batch joints 3"]:
    """Joints relative to the joint of index ``root``."""
    return joints - joints[..., root : root + 1, :]


def optimal_scale(
    predicted: Float[Tensor, "*batch joints 3"],
    reference: Float[Tensor, "*batch joints 3"],
    valid: Bool[Tensor, "*batch joints"],
) -> Float[Tensor, "*batch"]:
    """The factor on ``predicted`` that brings it nearest to ``reference`` in the least squares sense.

    Both must be relative to a common origin. A prediction without any extent gets the factor 0.
    """
    predicted, reference = _without_invalid(predicted, valid), _without_invalid(reference, valid)
    extent = predicted.square().sum((-1, -2))
    overlap = (predicted * reference).sum((-1, -2))
    return torch.where(extent > 0, overlap / extent.clamp_min(torch.finfo(extent.dtype).tiny), 0.0)


def procrustes(
    predicted: Float[Tensor, "*batch joints 3"],
    reference: Float[Tensor, "*batch joints 3"],
    valid: Bool[Tensor, "*batch joints"],
) -> Float[Tensor, "*batch joints 3"]:
    """``predicted`` after the similarity transform that brings it nearest to ``reference``; never a reflection.

    The rotation is the one of Kabsch and Umeyama: where the best orthogonal map is a reflection, the axis of the
    smallest singular value is turned back.
    """
    target_centre = _centroid(reference, valid)
    source_centre = _centroid(predicted, valid)
    source = _without_invalid(predicted - source_centre, valid)
    target = _without_invalid(reference - target_centre, valid)
    u, singular, vt = torch.linalg.svd(source.transpose(-1, -2) @ target)
    sign = torch.linalg.det(u @ vt).sign().unsqueeze(-1)
    signs = torch.cat([torch.ones_like(singular[..., :2]), sign], dim=-1)
    rotation = (u * signs.unsqueeze(-2)) @ vt
    extent = source.square().sum((-1, -2)).clamp_min(torch.finfo(source.dtype).tiny)
    scale = (singular * signs).sum(-1) / extent
    return scale[..., None, None] * ((predicted - source_centre) @ rotation) + target_centre


def _centroid(joints: Float[Tensor, "*batch joints 3"], valid: Bool[Tensor, "*batch joints"]) -> Tensor:
    num_valid = valid.sum(-1).clamp_min(1)[..., None, None]
    return _without_invalid(joints, valid).sum(-2, keepdim=True) / num_valid


def _without_invalid(joints: Float[Tensor, "*batch joints 3"], valid: Bool[Tensor, "*batch joints"]) -> Tensor:
    return torch.where(valid.unsqueeze(-1), joints, torch.zeros_like(joints))
