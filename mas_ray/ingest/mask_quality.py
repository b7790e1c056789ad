"""Whether a mask is good enough to learn from."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, UInt8

from mas_ray.config.ingest import MaskQualityConfig
from mas_ray.ingest.curation.frame_look import sharpness
from mas_ray.ingest.masks.person import box


def reject_reason(
    mask: Bool[np.ndarray, "height width"],
    config: MaskQualityConfig,
    *,
    image_rgb: UInt8[np.ndarray, "height width 3"] | None = None,
    others: float = 0.0,
) -> str | None:
    """Why a person mask must be left out, or None if it may stay.

    Args:
        mask: The person.
        config: The thresholds.
        image_rgb: The frame, to tell whether the person is in focus; None does not ask.
        others: Area of other people in the frame as a multiple of the person's.

    Returns:
        ``empty``, ``too_small`` or ``too_large`` (share of the image), ``too_short`` (height in source pixels),
        ``touches_border`` (the image's border cuts the person), ``several_people`` or ``blurred``.
    """
    area = int(mask.sum())
    if area == 0:
        return "empty"
    if area < config.min_area_fraction * mask.size:
        return "too_small"
    if area > config.max_area_fraction * mask.size:
        return "too_large"
    left, top, right, bottom = box(mask)
    if bottom - top + 1 < config.min_height_px:
        return "too_short"
    if _border_contact(mask) > config.max_border_contact * max(right - left + 1, bottom - top + 1):
        return "touches_border"
    if others > config.max_others:
        return "several_people"
    if image_rgb is not None and sharpness(image_rgb, mask) < config.min_sharpness:
        return "blurred"
    return None


def _border_contact(mask: Bool[np.ndarray, "height width"]) -> int:
    """The length, in pixels, along which a mask touches the image's border."""
    return sum(int(edge.sum()) for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
