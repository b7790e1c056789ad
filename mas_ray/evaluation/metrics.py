"""Errors of joints and keypoints: pure functions of tensors. What is compared with what is decided elsewhere.

Every function takes ``valid``: a joint counts where it is True; elsewhere its values may be anything, NaN included.
A mean over nothing is NaN.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mas_ray.geometry.alignment import optimal_scale, procrustes, root_centred


def mean_over_valid(errors: Float[Tensor, "*shape"], valid: Bool[Tensor, "*shape"]) -> float:
    """Mean of the valid entries; NaN if there are none."""
    return float(errors[valid].mean())


def position_errors(
    predicted_mm: Float[Tensor, "*batch joints 3"], reference_mm: Float[Tensor, "*batch joints 3"]
) -> Float[Tensor, "*batch joints"]:
    """Distance of each joint as the poses are, in millimetres."""
    return _distance(predicted_mm, reference_mm)


def root_aligned_errors(
    predicted_mm: Float[Tensor, "*batch joints 3"], reference_mm: Float[Tensor, "*batch joints 3"], *, root: int
) -> Float[Tensor, "*batch joints"]:
    """Distance of each joint after both poses' root joints are put on one point, in millimetres."""
    return _distance(root_centred(predicted_mm, root), root_centred(reference_mm, root))


def scaled_errors(
    predicted_mm: Float[Tensor, "*batch joints 3"],
    reference_mm: Float[Tensor, "*batch joints 3"],
    valid: Bool[Tensor, "*batch joints"],
    *,
    root: int,
) -> Float[Tensor, "*batch joints"]:
    """Distance of each joint after root alignment and the optimal scale of the pose, in millimetres."""
    predicted, reference = root_centred(predicted_mm, root), root_centred(reference_mm, root)
    scale = optimal_scale(predicted, reference, valid)
    return _distance(scale[..., None, None] * predicted, reference)


def procrustes_errors(
    predicted_mm: Float[Tensor, "*batch joints 3"],
    reference_mm: Float[Tensor, "*batch joints 3"],
    valid: Bool[Tensor, "*batch joints"],
) -> Float[Tensor, "*batch joints"]:
    """Distance of each joint after the optimal similarity transform of the pose, in millimetres."""
    return _distance(procrustes(predicted_mm, reference_mm, valid), reference_mm)


def mpjpe(
    predicted_mm: Float[Tensor, "*batch joints 3"],
    reference_mm: Float[Tensor, "*batch joints 3"],
    valid: Bool[Tensor, "*batch joints"],
    *,
    root: int,
) -> float:
    """Mean per-joint position error after root alignment, in millimetres. Poses whose root is invalid do not count."""
    return mean_over_valid(root_aligned_errors(predicted_mm, reference_mm, root=root), _rooted(valid, root))


def n_mpjpe(
    predicted_mm: Float[Tensor, "*batch joints 3"],
    reference_mm: Float[Tensor, "*batch joints 3"],
    valid: Bool[Tensor, "*batch joints"],
    *,
    root: int,
) -> float:
    """As ``mpjpe``, each pose first scaled optimally about its root: blind to size."""
    rooted = _rooted(valid, root)
    return mean_over_valid(scaled_errors(predicted_mm, reference_mm, rooted, root=root), rooted)


def p_mpjpe(
    predicted_mm: Float[Tensor, "*batch joints 3"],
    reference_mm: Float[Tensor, "*batch joints 3"],
    valid: Bool[Tensor, "*batch joints"],
) -> float:
    """As ``mpjpe`` after the optimal similarity transform of each pose: blind to size, place and orientation."""
    return mean_over_valid(procrustes_errors(predicted_mm, reference_mm, valid), valid)


def pck_3d(
    errors_mm: Float[Tensor, "*batch joints"], valid: Bool[Tensor, "*batch joints"], *, threshold_mm: float = 150.0
) -> float:
    """Percentage of correct keypoints: of the valid joints, those nearer to the reference than the threshold.

    Mehta et al. (3DV 2017) put it at 150 mm.
    """
    return mean_over_valid((errors_mm < threshold_mm).double(), valid) * 100.0


def auc_3d(errors_mm: Float[Tensor, "*batch joints"], valid: Bool[Tensor, "*batch joints"]) -> float:
    """Area under the curve of ``pck_3d``: its mean over thresholds from 0 to 150 mm in steps of 5, in percent.

    The threshold 0 is one of the 31 and counts nothing, not even what is exact: the best possible figure is 30/31 of
    100, as in the original evaluation of MPI-INF-3DHP.
    """
    thresholds = torch.linspace(0.0, 150.0, 31).tolist()
    return sum(pck_3d(errors_mm, valid, threshold_mm=threshold) for threshold in thresholds) / len(thresholds)


def keypoint_errors(
    predicted: Float[Tensor, "*batch joints 2"], reference: Float[Tensor, "*batch joints 2"]
) -> Float[Tensor, "*batch joints"]:
    """Distance of each keypoint, in the unit of its arguments."""
    return _distance(predicted, reference)


def keypoint_error_percent(
    predicted_ndc: Float[Tensor, "*batch joints 2"],
    reference_ndc: Float[Tensor, "*batch joints 2"],
    valid: Bool[Tensor, "*batch joints"],
) -> float:
    """Mean keypoint error in percent of the crop's side (NDC spans 2 from edge to edge).

    The paper's "2D MSE-%" has the same form, but its crop is a square of two metres, ours is cut from the mask: the
    two numbers do not compare.
    """
    return mean_over_valid(keypoint_errors(predicted_ndc, reference_ndc), valid) * 100.0 / 2.0


def pckh(
    errors_px: Float[Tensor, "people joints"],
    head_px: Float[Tensor, " people"],
    valid: Bool[Tensor, "people joints"],
    *,
    threshold: float = 0.5,
) -> float:
    """Percentage of the valid keypoints that are no farther off than that share of the person's head.

    Andriluka et al. (CVPR 2014) put it at a half; the head's size is 0.6 of its box's diagonal.
    """
    return mean_over_valid((errors_px <= threshold * head_px[:, None]).double(), valid) * 100.0


def names_are_swapped(
    predicted: Float[Tensor, "*batch joints 2"],
    reference: Float[Tensor, "*batch joints 2"],
    valid: Bool[Tensor, "*batch joints"],
    mirror_permutation: tuple[int, ...],
) -> Bool[Tensor, "*batch"]:
    """Whether the predicted names, taken as one, fit the reference better with left and right exchanged."""
    permutation = list(mirror_permutation)
    both = valid & valid[..., permutation]
    direct = torch.where(both, keypoint_errors(predicted, reference), 0.0).sum(-1)
    exchanged = torch.where(both, keypoint_errors(predicted[..., permutation, :], reference), 0.0).sum(-1)
    return exchanged < direct


def ambiguity_ratio(swapped: Bool[Tensor, "frames views"], valid: Bool[Tensor, "frames views"]) -> float:
    """The paper's r: how far the views of a frame disagree on left and right, from 0 (never) to 0.5.

    Per frame min(f, N - f) / N with f of N valid views swapped, averaged over the frames with at least two valid
    views; NaN if there are none. Naming each view by a coin flip gives 0.3125 with four views.
    """
    num_views = valid.sum(-1)
    num_swapped = (swapped & valid).sum(-1)
    minority = torch.minimum(num_swapped, num_views - num_swapped) / num_views.clamp_min(1)
    return mean_over_valid(minority, num_views >= 2)


def _rooted(valid: Bool[Tensor, "*batch joints"], root: int) -> Bool[Tensor, "*batch joints"]:
    return valid & valid[..., root : root + 1]


def _distance(a: Float[Tensor, "*shape axes"], b: Float[Tensor, "*shape axes"]) -> Float[Tensor, "*shape"]:
    return torch.linalg.vector_norm(a - b, dim=-1)
