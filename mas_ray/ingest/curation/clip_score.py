"""What is left of a clip, in a few figures, and whether it is enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median

from mas_ray.config.ingest import CurationConfig


@dataclass(frozen=True, kw_only=True)
class FrameScore:
    """Of one mask that stays: its overlap with its neighbours, its sharpness, and its share of the image."""

    overlap: float | None
    sharpness: float
    area_fraction: float


@dataclass(frozen=True, kw_only=True)
class ClipScore:
    """A clip's figures; None where no mask gives one."""

    num_frames: int
    """Frames that might have become instants."""
    num_kept: int
    mean_overlap: float | None
    median_sharpness: float | None
    median_area_fraction: float | None


def score_clip(num_frames: int, kept: Sequence[FrameScore]) -> ClipScore:
    """Sum a clip up from the masks that stay, rounded to four places: records hold no more than they mean."""
    overlaps = [score.overlap for score in kept if score.overlap is not None]
    return ClipScore(
        num_frames=num_frames,
        num_kept=len(kept),
        mean_overlap=round(mean(overlaps), 4) if overlaps else None,
        median_sharpness=round(median(score.sharpness for score in kept), 4) if kept else None,
        median_area_fraction=round(median(score.area_fraction for score in kept), 4) if kept else None,
    )


def reject_reason(score: ClipScore, config: CurationConfig) -> str | None:
    """``too_few_frames`` if too few masks of a clip are good, else None."""
    return "too_few_frames" if score.num_kept < config.min_frames else None
