"""Whether a mask is good enough to learn from."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from mas_ray.config.ingest import MaskQualityConfig


def reject_reason(mask: Bool[np.ndarray, "height width"], config: MaskQualityConfig) -> str | None:
    """Why a person mask must be left out, or None if it may stay.

    Returns:
        ``empty``, ``too_small`` or ``too_large`` (share of the image), ``too_short`` (height in source pixels), or
        ``touches_border`` (too large a share of the mask's pixels lies on the image's outermost pixels).
    """
    area = int(mask.sum())
    if area == 0:
        return "empty"
    if area < config.min_area_fraction * mask.size:
        return "too_small"
    if area > config.max_area_fraction * mask.size:
        return "too_large"
    rows = np.flatnonzero(mask.any(axis=1))
    if rows[-1] - rows[0] + 1 < config.min_height_px:
        return "too_short"
    inside = int(mask[1:-1, 1:-1].sum())
    return "touches_border" if area - inside > config.max_border_fraction * area else None
