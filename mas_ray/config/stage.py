"""One stage of the cascade as data: its bones, losses, warm-ups and teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BoneSet = Literal["tight", "medium", "loose", "points"]


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """The lambdas of one stage. A term of weight 0 has no influence."""

    skeleton_mask: float
    physique_mask: float = 0.0
    bone_length: float = 0.0
    equivariance: float = 1.0
    symmetry: float = 2.0
    reprojection: float = 1.0
    """Share of the mask losses taken on reprojected joints (Eq. 10), relative to the direct ones."""
    consistency: float = 0.0
    """Beyond the paper: distance between predicted and reprojected keypoints."""
    depth: float = 0.0
    """Beyond the paper: the heatmap's depth axis follows the teacher's joints, or the triangulated ones."""
    spine_midpoint: float = 0.0
    """Beyond the paper: the spine joint stays in the middle of pelvis and thorax."""
    limb_equality: float = 0.0
    """Beyond the paper: left and right limbs of the triangulated joints are equally long."""
    leg_proportions: float = 0.0
    """Beyond the paper: the knee divides the triangulated leg as in the average person."""
    anchor: float = 1.0
    """Weight of the warm-up target while it is active."""
    tied_limbs: float = 5.0
    """Weight of the tie between left and right arms while it is active."""


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """Beyond the paper: the networks of the stage before predict the training split, and this stage learns from that.

    Every multi-view frame set is triangulated; what single views leave open is settled by all views and all instants
    of a take together.
    """

    link_names: bool = True
    """Left and right persist through a take, and its knees bend forward. Otherwise the first view's names count."""
    search_arms: bool = True
    """Arms are looked for where the stage's physique mask leaves the person's mask unexplained."""


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One stage of the cascade."""

    name: str
    bone_set: BoneSet
    learning_rates: tuple[tuple[int, float], ...]
    """(number of epochs, rate) in order."""
    loss_weights: LossWeights
    geodesic_weighting: bool
    bone_width: float = 0.055
    """Sigma of the drawn bone in NDC. The paper's 3e-3 is sigma squared."""
    arm_bone_width: float = 0.039
    """Sigma of the arm bones: bone_width / sqrt(2)."""
    physique_ramp_steps: int = 0
    """The physique mask loss grows linearly from 0 over this many steps."""
    mask_ramp_steps: int = 0
    """Mask losses grow linearly from 0 over this many steps after the anchor-only steps."""
    anchor: Literal["torso", "stick", "teacher"] = "torso"
    """Warm-up target: pelvis and thorax from the mask's centroid (paper), all joints on an upright figure, or the
    teacher's joints."""
    teacher: TeacherConfig | None = None
    """Who gives the ``teacher`` anchor; the first stage can have one only in a run that starts from a checkpoint."""
    fresh_detector: bool = False
    """Start from random weights. A heatmap that has learned a side's place does not jump to the other side; a new one
    learns names like any other place."""
    resolve_names: bool = False
    """Beyond the paper: search the relative left/right pattern of the views before triangulating."""
    num_anchor_only_steps: int = 0
    """First steps without mask losses: the warm-up target leads."""
    num_anchor_steps: int = 0
    """Steps for which the warm-up target pulls."""
    anchor_fades: bool = False
    """After the anchor-only steps the pull falls linearly to 0 instead of ending at once."""
    num_tied_limb_steps: int = 0
    """First steps in which left and right elbow, and left and right wrist, are pulled together."""
    num_direct_only_steps: int = 0
    """First steps without reprojection, consistency and depth (triangulation of random points misleads)."""
    single_view_share: float = 0.0
    """Share of the steps whose whole batch comes from the job's single-view dataset, spread evenly."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.single_view_share < 1.0:
            raise ValueError(f"single_view_share: expected at least 0 and less than 1, got {self.single_view_share}")
        if not self.learning_rates or any(num < 1 for num, _ in self.learning_rates):
            raise ValueError(f"learning_rates: expected (epochs, rate) pairs of at least one epoch in {self.name!r}")
        if (self.teacher is not None) != (self.anchor == "teacher" and self.num_anchor_steps > 0):
            raise ValueError(
                f"teacher: stage {self.name!r} must have one exactly if its anchor is the teacher for some steps"
            )

    @property
    def num_epochs(self) -> int:
        """Epochs of the stage."""
        return sum(num for num, _ in self.learning_rates)

    def learning_rate(self, epoch: int) -> float:
        """The rate of an epoch, counted from 0 within the stage."""
        for num, rate in self.learning_rates:
            if epoch < num:
                return rate
            epoch -= num
        raise ValueError(f"epoch: stage {self.name!r} has {self.num_epochs} epochs only")
