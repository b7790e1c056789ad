"""The yardstick: how held-out frame sets are measured, whatever the λ and σ that a job is trained with.

A job's own held-out loss compares its checkpoints with one another. It does not compare jobs: another λ scales the
loss, another σ or other geodesic constants change what is drawn and what it is drawn against. The yardstick draws with
its own, and needs no labels.

No term of it is a pose error, and a wrong skeleton may please any single one. Weigh several together where the sweep
can reach what one of them is blind to:

- ``skeleton_mask`` sees only what leaves the outline. It cannot tell left from right, nor see depth, a joint that
  slides along its bone, or an arm before the trunk. It is not 0 for the true pose: bones are thinner than bodies, so a
  skeleton that fills the body as strokes fill a shape is better than the true one. And it is of one σ: of two jobs,
  the one trained at the yardstick's own has been trained to please it.
- ``physique_iou`` is blind to the same, and to whatever the shape prior network makes good: that was trained together
  with the joints it is fed. In a stage that does not train it, it says nothing.
- ``reprojection`` sees whether views agree, not on what: all joints in one point of the body agree, and so does a part
  of the body that all views take for another. Single views have none.
- ``equivariance`` sees whether joints move with the picture: joints that stay in the middle of the body do, and joints
  on the wrong part of it. A joint that never moves is no farther off than the warp moves things.

A collapsed skeleton is thus perfect by the last two and poor by the first two; a skeleton of strokes that fill the
body, the other way round.

Measured on synthetic people (docs/experiments.md), every term but the last two tells a broken training from a good one,
and none ranks good ones well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from mas_ray.config.cascade import BoneMerge, CascadeConfig, GeodesicConfig
from mas_ray.config.model import DetectorConfig
from mas_ray.config.stage import BoneSet, LossWeights, StageConfig


@dataclass(frozen=True, kw_only=True)
class YardstickWeights:
    """What each term counts in the score. All terms are measured in any case; all are better the smaller they are."""

    skeleton_mask: float = 1.0
    """Mask loss of the drawn skeleton (Eq. 5, weighted by Eq. 9), mean over views. True joints of people
    have about 0.02, all joints in the pelvis 0.11."""
    physique_iou: float = 0.0
    """1 less the intersection over union of the physique mask (Eq. 6) with the person's mask, both cut at one half."""
    reprojection: float = 0.0
    """Mean distance of a view's keypoints from the triangulated joints seen by it (Eq. 10), percent of the crop's side.
    Of frame sets with at least two calibrated views; left and right are named as the stage names them."""
    equivariance: float = 0.0
    """Mean distance of the keypoints of a warped crop, warped back, from the crop's own (Eq. 13), percent of the crop's
    side."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{field.name}: expected a weight of at least 0, got {value}")
        if not any(getattr(self, field.name) for field in fields(self)):
            raise ValueError("weights: all are 0; expected one term at least that counts")


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """How to measure, the same for all jobs that are to be compared."""

    bone_set: BoneSet = "loose"
    bone_width: float = 0.055
    """Sigma of the drawn bone in NDC."""
    arm_bone_width: float = 0.039
    bone_merge: BoneMerge = "max"
    mask_size: int = 64
    """Side of the map on which masks are compared, in pixels, also where the cascade's is another one: the same joints
    have a tenth more loss at 128 than at 64."""
    geodesic: GeodesicConfig = GeodesicConfig()
    warp_scale: float = 0.05
    """Standard deviation of the entries of the affine maps that measure equivariance, in NDC. A row has the same map
    always."""
    weights: YardstickWeights = YardstickWeights()

    def __post_init__(self) -> None:
        if self.warp_scale <= 0:
            raise ValueError(f"warp_scale: expected more than 0, got {self.warp_scale}")
        self.cascade(DetectorConfig())  # bone widths and the map's size fit one another

    def cascade(self, detector: DetectorConfig) -> CascadeConfig:
        """A cascade that draws and decodes as the yardstick does, with pictures for a detector. It is never trained."""
        stage = StageConfig(
            name="yardstick",
            bone_set=self.bone_set,
            bone_width=self.bone_width,
            arm_bone_width=self.arm_bone_width,
            learning_rates=((1, 0.0),),
            loss_weights=LossWeights(skeleton_mask=1.0),
            geodesic_weighting=True,
        )
        return CascadeConfig(
            stages=(stage,),
            detector=detector,
            geodesic=self.geodesic,
            bone_merge=self.bone_merge,
            mask_size=self.mask_size,
        )
