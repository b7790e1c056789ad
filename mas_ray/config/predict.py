"""What prediction is told beside what to predict: whom to look at, smoothing and formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mas_ray.config.ingest import MaskQualityConfig

WHOEVER_IS_THERE = MaskQualityConfig(
    min_area_fraction=0.001,
    max_area_fraction=1.0,
    min_height_px=16,
    max_border_contact=1000.0,
    max_others=1000.0,
    min_sharpness=0.0,
)
"""To learn from a mask it must be good; to look at a person it must be there."""
Axis = Literal["x", "y", "z", "-x", "-y", "-z"]
PoseFormat = Literal["json", "coco", "trc", "bvh"]
"""Beside ``poses.parquet``: one JSON file per take; COCO keypoints of all pictures; TRC markers and BVH motion of each
take, with Y up."""


@dataclass(frozen=True, kw_only=True)
class OneEuro:
    """The One-Euro filter (Casiez, Roussel and Vogel, CHI 2012): a low-pass that lets fast movement through.

    Its cutoff is ``min_cutoff_hz + beta * speed``: smooth where a joint rests, without lag where it moves.
    """

    min_cutoff_hz: float = 1.0
    beta: float = 0.007
    """In Hz per mm/s for joints, per px/s for keypoints."""

    def __post_init__(self) -> None:
        if self.min_cutoff_hz <= 0:
            raise ValueError(f"min_cutoff_hz: expected more than 0, got {self.min_cutoff_hz}")
        if self.beta < 0:
            raise ValueError(f"beta: expected at least 0, got {self.beta}")
