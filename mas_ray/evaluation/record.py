"""The record of an evaluation, ``evaluation.json``: its fields, and how it is written and read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from mas_ray.config import codec
from mas_ray.evaluation.left_right import Handling
from mas_ray.geometry.chirality import KneeChirality
from mas_ray.shards.location import Location
from mas_ray.shards.manifest import SplitName
from mas_ray.shards.write import write_text

FORMAT = "mas-ray evaluation 4"
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
class ActionErrors:
    """Errors of the frame sets of one action. A part is None where nothing was comparable."""

    action: str
    num_frame_sets: int
    triangulated: PoseErrors | None
    monocular: PoseErrors | None
    keypoints: KeypointErrors | None


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
    actions: tuple[ActionErrors, ...]
    """In the order of their names."""


PaperHandling = Literal["raw", "oracle_pairs"]


@dataclass(frozen=True, kw_only=True)
class PaperErrors:
    """Errors by ``paper_protocol.PROTOCOL``: each the mean over actions of the action's mean."""

    handling: PaperHandling
    percent_of_two_metres: float
    mpjpe_mm: float
    n_mpjpe_mm: float
    p_mpjpe_mm: float
    pck_150_percent: float
    auc_150_percent: float
    num_poses: int
    """One per view that is comparable."""


@dataclass(frozen=True, kw_only=True)
class PaperProtocol:
    """The same predictions by the protocol of the code that the paper's authors released later."""

    protocol: str
    lenient: tuple[str, ...]
    """Where it is kinder than the literature's protocols."""
    ambiguity_ratio: float | None
    """Of pairs of joints, so that it is 1/3 at most; None with fewer than two comparable views."""
    errors: tuple[PaperErrors, ...]

    def under(self, handling: PaperHandling) -> PaperErrors:
        """The errors under one handling of left and right."""
        return next(errors for errors in self.errors if errors.handling == handling)


Regressor = Literal["linear", "two_hidden_layers"]


@dataclass(frozen=True, kw_only=True)
class SupervisedErrors:
    """Errors of a split after supervised post-processing fitted on another: the paper's ††, which uses labels."""

    regressor: Regressor
    triangulated: PoseErrors | None
    percent_of_crop: float | None
    """Of keypoints post-processed within each view."""
    groups: tuple[GroupError, ...]
    alpha_triangulated: float
    alpha_keypoints: float
    num_training_poses: int
    num_training_views: int


@dataclass(frozen=True, kw_only=True)
class ReferenceFault:
    """A take whose reference is known to be damaged."""

    take_id: str
    fault: str
    """In the words of the annotation file."""


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
    faults: tuple[ReferenceFault, ...]


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
    knee_chirality_of_takes: KneeChirality | None
    """The same with every take counted once, so that its error does not take the frames of a take as independent."""
    accuracy: tuple[Accuracy, ...]
    accuracy_without_faults: tuple[Accuracy, ...]
    """The same without the takes whose reference is damaged; empty if there are none, or nothing else."""
    paper: PaperProtocol | None
    """None if no view was comparable."""
    supervised: tuple[SupervisedErrors, ...] = ()
    """Where it was asked for; no other number here has anything to do with labels of the training split."""

    def under(self, handling: Handling) -> Accuracy:
        """The errors under one handling of left and right."""
        return next(accuracy for accuracy in self.accuracy if accuracy.handling == handling)


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
