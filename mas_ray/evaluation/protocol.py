"""The evaluation itself: which numbers are taken of a comparison, and the record ``evaluation.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mas_ray.config import codec
from mas_ray.evaluation import metrics
from mas_ray.evaluation.comparison import Comparison
from mas_ray.evaluation.left_right import HANDLINGS, Handling, oracle_swaps
from mas_ray.geometry.chirality import KneeChirality, knee_chirality
from mas_ray.shards.location import Location
from mas_ray.shards.manifest import SplitName
from mas_ray.shards.write import write_text
from mas_ray.skeleton import Skeleton

FORMAT = "mas-ray evaluation 3"
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

JointGroup = Literal["trunk", "legs", "arms"]
JOINT_GROUPS: Mapping[JointGroup, tuple[str, ...]] = MappingProxyType(
    {
        "trunk": (
            *("pelvis", "spine", "thorax", "neck", "nose", "head"),
            *("left_hip", "right_hip", "left_shoulder", "right_shoulder"),
        ),
        "legs": ("left_knee", "right_knee", "left_ankle", "right_ankle"),
        "arms": ("left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    }
)
"""Every joint is in one of them."""


@dataclass(frozen=True, kw_only=True)
class PoseErrors:
    """3D errors of a set of poses, millimetres."""

    mpjpe_mm: float
    n_mpjpe_mm: float
    p_mpjpe_mm: float
    pck_150_percent: float
    """Joints nearer than 150 mm, root-aligned."""
    auc_150_percent: float
    """The mean of that over thresholds from 0 to 150 mm."""
    num_poses: int


@dataclass(frozen=True, kw_only=True)
class KeypointErrors:
    """2D errors of a set of views."""

    percent_of_crop: float
    px: float
    num_views: int


@dataclass(frozen=True, kw_only=True)
class JointError:
    """Mean error of one joint; None where it was nowhere comparable."""

    joint: str
    triangulated_mm: float | None
    monocular_mm: float | None
    percent_of_crop: float | None


@dataclass(frozen=True, kw_only=True)
class GroupError:
    """Mean error of a group of joints, root-aligned in 3D; None where no joint of it was comparable."""

    group: JointGroup
    triangulated_mm: float | None
    monocular_mm: float | None
    percent_of_crop: float | None


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """All errors under one handling of left and right. A part is None where nothing was comparable."""

    handling: Handling
    exchanged_fraction: float
    """Share of the frame sets in which left and right were exchanged before measuring."""
    triangulated: PoseErrors | None
    monocular: PoseErrors | None
    keypoints: KeypointErrors | None
    groups: tuple[GroupError, ...]
    joints: tuple[JointError, ...]


@dataclass(frozen=True, kw_only=True)
class EvaluationSource:
    """What was compared with what."""

    checkpoint: str
    corpus: str
    split: SplitName
    reference: str
    """Where the reference joints come from, in the words of the annotation files."""
    num_frame_sets: int
    num_without_reference: int
    """Frame sets of the split left out because the reference has no such instant."""
    takes: tuple[str, ...]
    takes_also_trained_on: tuple[str, ...]
    """The takes of which other instants are in the training split."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The record of an evaluation; ``evaluation.json`` is its JSON form."""

    format: str
    protocol: str
    source: EvaluationSource
    ambiguity_ratio: float | None
    """The paper's r, before any handling of left and right; None with fewer than two comparable views."""
    knee_chirality: KneeChirality | None
    """What decided ``global_bit``; None without triangulated poses (``global_bit`` then equals ``raw``)."""
    accuracy: tuple[Accuracy, ...]
    knee_chirality_of_takes: KneeChirality | None = None
    """The same with every take counted once, so that its error does not take the frames of a take as independent."""

    def under(self, handling: Handling) -> Accuracy:
        """The errors under one handling of left and right."""
        return next(accuracy for accuracy in self.accuracy if accuracy.handling == handling)


def evaluate_comparison(
    comparison: Comparison, skeleton: Skeleton, *, source: EvaluationSource, takes: Sequence[str]
) -> Evaluation:
    """Take every number of the protocol; ``takes`` names the take of every frame set."""
    chirality = knee_chirality(comparison.triangulated_mm, skeleton)
    num_frames = len(comparison.reference_mm)
    swaps = {
        "raw": torch.zeros(num_frames, dtype=torch.bool),
        "global_bit": torch.full((num_frames,), chirality is not None and chirality.says_swapped),
        "oracle_pose": _oracle(comparison, skeleton),
    }
    return Evaluation(
        format=FORMAT,
        protocol=PROTOCOL,
        source=source,
        ambiguity_ratio=_ambiguity_ratio(comparison, skeleton),
        knee_chirality=chirality,
        knee_chirality_of_takes=knee_chirality(comparison.triangulated_mm, skeleton, takes=takes),
        accuracy=tuple(_accuracy(comparison, skeleton, handling, swaps[handling]) for handling in HANDLINGS),
    )


def write_evaluation(path: Location, evaluation: Evaluation) -> None:
    """Write ``evaluation.json``, whole or not at all."""
    write_text(path, codec.dumps(evaluation))


def read_evaluation(path: Path) -> Evaluation:
    """Read ``evaluation.json``.

    Raises:
        ValueError: There is none, or it is of another format; the message names the file.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such evaluation")
    try:
        data = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from None
    # Before the fields, which differ between formats.
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise ValueError(f"{path}: format {found!r}, expected {FORMAT!r}; evaluate again")
    return codec.from_json(Evaluation, data, str(path))


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
    comparison: Comparison, skeleton: Skeleton, handling: Handling, swap: Bool[Tensor, " frames"]
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
        triangulated=pose_errors(named.triangulated_mm, named.reference_mm, root=root),
        monocular=pose_errors(named.monocular_mm.flatten(0, 1), reference_per_view.flatten(0, 1), root=root),
        keypoints=_keypoint_errors(named),
        groups=group_errors(errors, skeleton),
        joints=tuple(JointError(joint=joint, **_means(errors, [index])) for index, joint in enumerate(skeleton.joints)),
    )


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
