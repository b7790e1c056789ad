"""The cascade as data: its networks, stages and presets. With ``config.stage``, every number of the method."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mas_ray.config.model import DetectorConfig, ShapePriorConfig
from mas_ray.config.stage import LossWeights, StageConfig, TeacherConfig

BoneMerge = Literal["max", "clamped_sum", "noisy_or"]


@dataclass(frozen=True, kw_only=True)
class GeodesicConfig:
    """How geodesic distances become per-pixel loss weights (Eq. 9).

    With d the max-normalised distances, the weight is ``exp(foreground_rate * d_fg) + foreground_offset`` from
    the body's centroid inside the mask plus ``background_slope * d_bg + background_offset`` from the mask
    outside it, each extended by its value at d = 0, then divided by the map's mean.
    """

    foreground_rate: float = 2.0
    foreground_offset: float = 1.0
    background_slope: float = 1.0
    background_offset: float = 1.0
    normalise_mean: bool = True
    """Divide each map by its mean, so that weighting does not also rescale the loss weights."""


@dataclass(frozen=True, kw_only=True)
class CascadeConfig:
    """The whole training recipe: networks, stages, sizes."""

    stages: tuple[StageConfig, ...]
    detector: DetectorConfig = DetectorConfig()
    shape_prior: ShapePriorConfig = ShapePriorConfig()
    geodesic: GeodesicConfig = GeodesicConfig()
    bone_merge: BoneMerge = "max"
    """How bones become one mask. The paper's text sums them, which exceeds 1 where they meet."""
    mask_size: int = 128
    """Side of the map on which masks are drawn and compared, in pixels."""
    batch_size: int = 32
    """Frame sets per optimiser step, summed over workers."""
    steps_per_epoch: int | None = None
    """Steps that make an epoch; None: one pass over the training split."""
    equivariance_views: int | None = None
    """Views of each frame set that are warped for the equivariance loss; None: all."""
    equivariance_scale: float = 0.05
    """Standard deviation of the entries of the random affine map, in NDC."""
    gradient_clip: float = 0.0
    """Largest gradient norm; 0 does not clip."""
    weight_average: float = 0.0
    """How much of the running average of the weights stays at every step, less in a stage's beginning. The average is
    what is validated, predicts, and is handed on to the next stage; 0: the weights themselves are."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("stages: a cascade needs at least one stage")
        for name in ("batch_size", "steps_per_epoch", "equivariance_views"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if not 0.0 <= self.weight_average < 1.0:
            raise ValueError(f"weight_average: expected at least 0 and less than 1, got {self.weight_average}")
        levels = 2 ** (len(self.shape_prior.widths) - 1)
        if self.mask_size < 64 or self.mask_size % levels:
            raise ValueError(f"mask_size: expected a multiple of {levels} of at least 64, got {self.mask_size}")
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages: names must differ, got {', '.join(names)}")
        for stage in self.stages:
            narrowest = min(stage.bone_width, stage.arm_bone_width)
            if narrowest * self.mask_size / 2 < 1.0:
                raise ValueError(
                    f"mask_size: a bone width of {narrowest} (stage {stage.name!r}) is "
                    f"{narrowest * self.mask_size / 2:.2f} px on a {self.mask_size} px map; expected at least 1"
                )


def paper_cascade() -> CascadeConfig:
    """The recipe of the paper's supplement A.3: 45 epochs, batch 32, Adam at 2e-4 then 1e-4."""
    return CascadeConfig(
        stages=(
            StageConfig(
                name="torso",
                bone_set="tight",
                learning_rates=((15, 2e-4),),
                loss_weights=LossWeights(skeleton_mask=10.0, bone_length=2.5),
                geodesic_weighting=True,
                num_anchor_steps=400,
                num_direct_only_steps=400,
            ),
            StageConfig(
                name="shape_prior",
                bone_set="medium",
                learning_rates=((5, 2e-4),),
                loss_weights=LossWeights(skeleton_mask=1.0, physique_mask=4.0),
                geodesic_weighting=False,
                num_tied_limb_steps=600,
            ),
            StageConfig(
                name="limbs",
                bone_set="loose",
                learning_rates=((14, 2e-4), (11, 1e-4)),
                loss_weights=LossWeights(skeleton_mask=2.0, physique_mask=1.5),
                geodesic_weighting=True,
            ),
        )
    )


def cpu_cascade() -> CascadeConfig:
    """A cascade for two CPU cores: a small network on 64 px crops.

    It departs from the paper where the paper's recipe collapsed at this size. The warm-up target is a whole upright
    figure, with the mask loss off and then ramped in; symmetry is much stronger and the bone constants are kept; names
    are resolved between views before triangulation. The last stage starts anew and is taught by the one before: where
    left and right, the arms and depth are. docs/experiments.md has the figures for each of these.
    """
    kept = LossWeights(
        skeleton_mask=10.0,
        bone_length=2.5,
        symmetry=20.0,
        spine_midpoint=5.0,
        limb_equality=20.0,
        leg_proportions=20.0,
        consistency=0.6,
    )
    return CascadeConfig(
        stages=(
            StageConfig(
                name="torso",
                bone_set="tight",
                learning_rates=((12, 2e-3),),
                loss_weights=replace(kept, anchor=3.0),
                geodesic_weighting=True,
                anchor="stick",
                num_anchor_only_steps=100,
                mask_ramp_steps=100,
                num_anchor_steps=600,
                anchor_fades=True,
                num_direct_only_steps=300,
                resolve_names=True,
            ),
            StageConfig(
                name="shape_prior",
                bone_set="medium",
                learning_rates=((8, 2e-3),),
                loss_weights=replace(kept, skeleton_mask=1.0, physique_mask=4.0),
                geodesic_weighting=False,
                resolve_names=True,
            ),
            StageConfig(
                name="limbs",
                bone_set="loose",
                learning_rates=((40, 2e-3), (20, 1e-3), (10, 3e-4)),
                loss_weights=replace(kept, physique_mask=3.0, anchor=20.0, depth=20.0),
                geodesic_weighting=True,
                anchor="teacher",
                teacher=TeacherConfig(),
                fresh_detector=True,
                num_anchor_only_steps=2000,
                mask_ramp_steps=200,
                num_anchor_steps=3500,
                num_direct_only_steps=2000,
            ),
        ),
        detector=DetectorConfig(
            backbone="tiny",
            width=16,
            head_width=48,
            input_size=64,
            heatmap_size=32,
            heatmap_depth=16,
        ),
        shape_prior=ShapePriorConfig(widths=(8, 16)),
        mask_size=64,
        batch_size=4,
        steps_per_epoch=50,
        equivariance_views=1,
        gradient_clip=5.0,
    )


def mixed_view_finetune(base: CascadeConfig | None = None, *, single_view_share: float = 0.5) -> CascadeConfig:
    """Five epochs more of a recipe's last stage (the paper's if none is given), with single-view data mixed in.

    For a run that starts from a checkpoint of that recipe (section 4.5, Table 3). The paper gives neither the epochs
    nor the mixture. Nothing of the stage's beginning is repeated: no warm-up, no ramps, no teacher; the rate is the one
    that the recipe ended with. With a share of 0 it is the control, "multi-view only", of as many steps.
    """
    base = base or paper_cascade()
    last = base.stages[-1]
    stage = replace(
        last,
        name="mixed_view",
        learning_rates=((5, last.learning_rates[-1][1]),),
        physique_ramp_steps=0,
        mask_ramp_steps=0,
        anchor="torso",
        teacher=None,
        fresh_detector=False,
        num_anchor_only_steps=0,
        num_anchor_steps=0,
        anchor_fades=False,
        num_tied_limb_steps=0,
        num_direct_only_steps=0,
        single_view_share=single_view_share,
    )
    return replace(base, stages=(stage,), detector=replace(base.detector, backbone_weights=None))
