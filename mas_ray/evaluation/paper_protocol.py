"""The protocol of the evaluation that the paper's authors released with their later work, the nearest to its tables.

The paper itself does not spell out its protocol. Where this one is kinder than the literature's, ``LENIENT`` says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mas_ray.evaluation import metrics
from mas_ray.evaluation.comparison import Comparison
from mas_ray.evaluation.record import PaperErrors, PaperHandling, PaperProtocol
from mas_ray.geometry.alignment import optimal_scale
from mas_ray.skeleton import Skeleton

PROTOCOL = (
    "One pose per view, from its own keypoints and depths, placed at the reference pelvis' depth; nothing is aligned. "
    "All joints of the skeleton. MPJPE: distance in the world. N-MPJPE: the optimal scale about the world's origin. "
    "P-MPJPE: the optimal similarity transform. PCK: nearer than 150 mm; AUC: its mean over 0, 5, ..., 150 mm. 2D: "
    "distance in percent of the side of a square of two metres at the pelvis' depth. Every figure is the mean over "
    "actions of the action's mean. r: for each pair of joints the share of views in the minority about which side is "
    "left, averaged over all joints, paired or not."
)
LENIENT = (
    "The pelvis' depth is the reference's, so no error along the optical axis is one of the whole body.",
    "With oracle_pairs, each pair of left and right joints of each view is exchanged where that brings the two nearer "
    "to the reference in 2D: joints that fell together on one side are told apart by chance, not by the detector.",
    "N-MPJPE scales about the world's origin, far from the body, so it corrects hardly any error of size.",
    "PCK and AUC are not of MPI-INF-3DHP's own test set and align nothing.",
    "r counts unpaired joints, which cannot be swapped, so it cannot exceed 1/3.",
)


def paper_protocol(comparison: Comparison, skeleton: Skeleton, *, actions: Sequence[str]) -> PaperProtocol | None:
    """The figures of the protocol; None if no view was comparable. ``actions`` names every frame set's."""
    if not _valid(comparison).any():
        return None
    swap = pairs_to_exchange(comparison, skeleton)
    return PaperProtocol(
        protocol=PROTOCOL,
        lenient=LENIENT,
        ambiguity_ratio=_ambiguity_ratio(swap, _valid(comparison).any(-1)),
        errors=(
            _errors("raw", comparison, torch.zeros_like(swap), skeleton, actions),
            _errors("oracle_pairs", comparison, swap, skeleton, actions),
        ),
    )


def pairs_to_exchange(comparison: Comparison, skeleton: Skeleton) -> Bool[Tensor, "frames views joints"]:
    """True at both joints of each pair that, exchanged, is nearer to the reference: sum of |x| and |y| in 2D."""
    mirror = list(skeleton.mirror_permutation)

    def distance(predicted: Float[Tensor, "frames views joints 2"]) -> Float[Tensor, "frames views joints"]:
        of_joint = ((predicted - comparison.reference_px) / comparison.two_metres_px[:, :, None]).abs().sum(-1)
        return of_joint + of_joint[..., mirror]

    return distance(comparison.keypoints_px[..., mirror, :]) < distance(comparison.keypoints_px)


def _errors(
    handling: PaperHandling,
    comparison: Comparison,
    swap: Bool[Tensor, "frames views joints"],
    skeleton: Skeleton,
    actions: Sequence[str],
) -> PaperErrors:
    mirror = list(skeleton.mirror_permutation)
    valid = _valid(comparison)
    reference_mm = comparison.reference_mm.unsqueeze(1).expand_as(comparison.monocular_mm)
    named_mm = torch.where(swap[..., None], comparison.monocular_mm[..., mirror, :], comparison.monocular_mm)
    named_px = torch.where(swap[..., None], comparison.keypoints_px[..., mirror, :], comparison.keypoints_px)
    absolute_mm = metrics.position_errors(named_mm, reference_mm)
    scale = optimal_scale(named_mm, reference_mm, valid)
    scaled_mm = metrics.position_errors(scale[..., None, None] * named_mm, reference_mm)
    aligned_mm = metrics.procrustes_errors(named_mm, reference_mm, valid)
    two_metres_px = comparison.two_metres_px[:, :, None]
    in_view = metrics.keypoint_errors(named_px / two_metres_px, comparison.reference_px / two_metres_px)

    def mean(errors: Float[Tensor, "frames views joints"]) -> float:
        return _mean_over_actions(errors, valid, actions)

    thresholds = torch.linspace(0.0, 150.0, 31).tolist()
    return PaperErrors(
        handling=handling,
        percent_of_two_metres=100.0 * mean(in_view),
        mpjpe_mm=mean(absolute_mm),
        n_mpjpe_mm=mean(scaled_mm),
        p_mpjpe_mm=mean(aligned_mm),
        pck_150_percent=100.0 * mean((absolute_mm < thresholds[-1]).double()),
        auc_150_percent=sum(100.0 * mean((absolute_mm < each).double()) for each in thresholds) / len(thresholds),
        num_poses=int(valid.any(-1).sum()),
    )


def _mean_over_actions(
    errors: Float[Tensor, "frames views joints"], valid: Bool[Tensor, "frames views joints"], actions: Sequence[str]
) -> float:
    """Mean over the actions that have anything to compare."""
    means: list[float] = []
    for action in sorted(set(actions)):
        of_action = torch.tensor([each == action for each in actions])
        if valid[of_action].any():
            means.append(metrics.mean_over_valid(errors[of_action], valid[of_action]))
    return sum(means) / len(means)


def _ambiguity_ratio(swap: Bool[Tensor, "frames views joints"], seen: Bool[Tensor, "frames views"]) -> float | None:
    num_views = seen.sum(-1)
    several = num_views >= 2
    if not several.any():
        return None
    swapped = (swap & seen[..., None]).sum(1)
    minority = torch.minimum(swapped, num_views[:, None] - swapped) / num_views.clamp_min(1)[:, None]
    return float(minority.mean(-1)[several].mean())


def _valid(comparison: Comparison) -> Bool[Tensor, "frames views joints"]:
    seen = comparison.monocular_mm.isfinite() & comparison.reference_mm.isfinite().unsqueeze(1)
    return seen.all(-1) & comparison.keypoints_px.isfinite().all(-1) & comparison.reference_px.isfinite().all(-1)
