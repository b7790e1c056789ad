"""The evaluation itself: which numbers are taken of a comparison, and the record ``evaluation.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mas_ray.evaluation import metrics
from mas_ray.evaluation.comparison import Comparison
from mas_ray.evaluation.left_right import HANDLINGS, Handling, oracle_swaps
from mas_ray.evaluation.paper_protocol import paper_protocol
from mas_ray.evaluation.record import (
    FORMAT,
    JOINT_GROUPS,
    Accuracy,
    ActionErrors,
    Evaluation,
    EvaluationSource,
    GroupError,
    JointError,
    KeypointErrors,
    PoseErrors,
    SupervisedErrors,
)
from mas_ray.geometry.chirality import knee_chirality
from mas_ray.skeleton import Skeleton

PROTOCOL = (
    "Every valid joint of every pose counts once, the pelvis with its zero too. MPJPE: both poses' pelvis on one "
    "point. N-MPJPE: also the optimal scale about the pelvis. P-MPJPE: the optimal similarity transform. "
    "PCK: root-aligned joints nearer than 150 mm, the pelvis included; AUC: its mean over 0, 5, ..., 150 mm. "
    "Triangulated: one pose per frame set from its calibrated views. Monocular: one pose per view, from its own "
    "keypoints and depths, placed at the reference pelvis' depth. 2D: distance from the reference projected into "
    "the view, in percent of the crop's side and in pixels of the source image. r: share of a frame's views in the "
    "minority about which side is left. Groups: trunk (pelvis, spine, thorax, neck, nose, head, hips, shoulders), legs "
    "(knees, ankles), arms (elbows, wrists); their 3D errors are MPJPE."
)


def evaluate_comparison(
    comparison: Comparison,
    skeleton: Skeleton,
    *,
    source: EvaluationSource,
    takes: Sequence[str],
    actions: Sequence[str],
    supervised: Sequence[SupervisedErrors] = (),
) -> Evaluation:
    """Take every number of the protocol.

    Args:
        comparison: Predictions beside their reference.
        skeleton: Of both.
        source: What was compared with what.
        takes: The take of every frame set.
        actions: What is performed in every frame set.
        supervised: Errors after post-processing, if it was asked for.
    """
    chirality = knee_chirality(comparison.triangulated_mm, skeleton)
    swaps = {
        "raw": torch.zeros(len(takes), dtype=torch.bool),
        "global_bit": torch.full((len(takes),), chirality is not None and chirality.says_swapped),
        "oracle_pose": _oracle(comparison, skeleton),
    }

    def accuracy(chosen: Bool[Tensor, " frames"]) -> tuple[Accuracy, ...]:
        of_chosen, of_actions = comparison.of_frames(chosen), _where(actions, chosen)
        return tuple(
            _accuracy(of_chosen, skeleton, handling, swaps[handling][chosen], of_actions) for handling in HANDLINGS
        )

    faulty = {fault.take_id for fault in source.faults}
    sound = torch.tensor([take not in faulty for take in takes], dtype=torch.bool)
    return Evaluation(
        format=FORMAT,
        protocol=PROTOCOL,
        source=source,
        ambiguity_ratio=_ambiguity_ratio(comparison, skeleton),
        knee_chirality=chirality,
        knee_chirality_of_takes=knee_chirality(comparison.triangulated_mm, skeleton, takes=takes),
        accuracy=accuracy(torch.ones_like(sound)),
        accuracy_without_faults=accuracy(sound) if sound.any() and not sound.all() else (),
        paper=paper_protocol(comparison, skeleton, actions=actions),
        supervised=tuple(supervised),
    )


def pose_errors(
    predicted_mm: Float[Tensor, "poses joints 3"], reference_mm: Float[Tensor, "poses joints 3"], *, root: int
) -> PoseErrors | None:
    """3D errors of the poses whose root is finite on both sides; None if there is none."""
    valid = _both_finite(predicted_mm, reference_mm)
    complete = valid[:, root]
    if not complete.any():
        return None
    predicted_mm, reference_mm, valid = predicted_mm[complete], reference_mm[complete], valid[complete]
    aligned = metrics.root_aligned_errors(predicted_mm, reference_mm, root=root)
    return PoseErrors(
        mpjpe_mm=metrics.mpjpe(predicted_mm, reference_mm, valid, root=root),
        n_mpjpe_mm=metrics.n_mpjpe(predicted_mm, reference_mm, valid, root=root),
        p_mpjpe_mm=metrics.p_mpjpe(predicted_mm, reference_mm, valid),
        pck_150_percent=metrics.pck_3d(aligned, valid),
        auc_150_percent=metrics.auc_3d(aligned, valid),
        num_poses=int(complete.sum()),
    )


def group_errors(errors: Mapping[str, Float[Tensor, "... joints"]], skeleton: Skeleton) -> tuple[GroupError, ...]:
    """The mean of each error, given by its field's name, over each group's joints; NaN does not count."""
    return tuple(
        GroupError(group=group, **_means(errors, [skeleton.index(joint) for joint in joints]))
        for group, joints in JOINT_GROUPS.items()
    )


def mean_of_finite(errors: Float[Tensor, "*shape"]) -> float | None:
    """Mean of the finite entries; None if there are none."""
    finite = errors[errors.isfinite()]
    return float(finite.mean()) if len(finite) else None


def _accuracy(
    comparison: Comparison,
    skeleton: Skeleton,
    handling: Handling,
    swap: Bool[Tensor, " frames"],
    actions: Sequence[str],
) -> Accuracy:
    root = skeleton.parents.index(-1)
    named = comparison.with_sides_exchanged(swap, skeleton)
    reference_per_view = named.reference_mm.unsqueeze(1).expand_as(named.monocular_mm)
    errors = {
        "triangulated_mm": metrics.root_aligned_errors(named.triangulated_mm, named.reference_mm, root=root),
        "monocular_mm": metrics.root_aligned_errors(named.monocular_mm, reference_per_view, root=root),
        "percent_of_crop": metrics.keypoint_errors(named.keypoints_ndc, named.reference_ndc) * 100.0 / 2.0,
    }
    return Accuracy(
        handling=handling,
        exchanged_fraction=float(swap.double().mean()),
        triangulated=_triangulated(named, root),
        monocular=_monocular(named, root),
        keypoints=_keypoint_errors(named),
        groups=group_errors(errors, skeleton),
        joints=tuple(JointError(joint=joint, **_means(errors, [index])) for index, joint in enumerate(skeleton.joints)),
        actions=tuple(
            _action_errors(action, named.of_frames(torch.tensor([each == action for each in actions])), root)
            for action in sorted(set(actions))
        ),
    )


def _action_errors(action: str, named: Comparison, root: int) -> ActionErrors:
    return ActionErrors(
        action=action,
        num_frame_sets=len(named.reference_mm),
        triangulated=_triangulated(named, root),
        monocular=_monocular(named, root),
        keypoints=_keypoint_errors(named),
    )


def _triangulated(named: Comparison, root: int) -> PoseErrors | None:
    return pose_errors(named.triangulated_mm, named.reference_mm, root=root)


def _monocular(named: Comparison, root: int) -> PoseErrors | None:
    reference_per_view = named.reference_mm.unsqueeze(1).expand_as(named.monocular_mm)
    return pose_errors(named.monocular_mm.flatten(0, 1), reference_per_view.flatten(0, 1), root=root)


def _keypoint_errors(comparison: Comparison) -> KeypointErrors | None:
    valid = _both_finite(comparison.keypoints_ndc, comparison.reference_ndc)
    if not valid.any():
        return None
    errors_px = metrics.keypoint_errors(comparison.keypoints_px, comparison.reference_px)
    return KeypointErrors(
        percent_of_crop=metrics.keypoint_error_percent(comparison.keypoints_ndc, comparison.reference_ndc, valid),
        px=metrics.mean_over_valid(errors_px, valid),
        num_views=int(valid.any(-1).sum()),
    )


def _ambiguity_ratio(comparison: Comparison, skeleton: Skeleton) -> float | None:
    valid = _both_finite(comparison.keypoints_ndc, comparison.reference_ndc)
    swapped = metrics.names_are_swapped(
        comparison.keypoints_ndc, comparison.reference_ndc, valid, skeleton.mirror_permutation
    )
    ratio = metrics.ambiguity_ratio(swapped, valid.any(-1))
    return None if math.isnan(ratio) else ratio


def _oracle(comparison: Comparison, skeleton: Skeleton) -> Bool[Tensor, " frames"]:
    """By the triangulated pose where there is one, else by the keypoints of all views."""
    exchanged = comparison.with_sides_exchanged(torch.ones(len(comparison.reference_mm), dtype=torch.bool), skeleton)
    return oracle_swaps(_frame_error(comparison, skeleton), _frame_error(exchanged, skeleton))


def _frame_error(comparison: Comparison, skeleton: Skeleton) -> Float[Tensor, " frames"]:
    root = skeleton.parents.index(-1)
    in_space = metrics.root_aligned_errors(comparison.triangulated_mm, comparison.reference_mm, root=root).nanmean(-1)
    in_views = metrics.keypoint_errors(comparison.keypoints_ndc, comparison.reference_ndc).flatten(1).nanmean(-1)
    return torch.where(in_space.isfinite(), in_space, in_views)


def _both_finite(predicted: Float[Tensor, "*shape axes"], reference: Float[Tensor, "*shape axes"]) -> Tensor:
    return predicted.isfinite().all(-1) & reference.isfinite().all(-1)


def _means(errors: Mapping[str, Tensor], indices: Sequence[int]) -> dict[str, float | None]:
    return {name: mean_of_finite(values[..., indices]) for name, values in errors.items()}


def _where(values: Sequence[str], chosen: Bool[Tensor, " frames"]) -> list[str]:
    return [value for value, kept in zip(values, chosen.tolist(), strict=True) if kept]
