"""Frame sets as table rows: one instant with all the views of it that are good enough to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from mas_ray.config.ingest import CropConfig, MaskQualityConfig
from mas_ray.corpora.take import Clip
from mas_ray.ingest.crop import crop_from_image, warp_image, warp_mask
from mas_ray.ingest.geodesic import geodesic_distances
from mas_ray.ingest.mask_quality import reject_reason
from mas_ray.ingest.masks.method import PersonMask
from mas_ray.shards.images import encode_distances, encode_image, encode_mask

Row = dict[str, Any]


def view_row(
    clip: Clip,
    image_rgb: UInt8[np.ndarray, "height width 3"],
    *,
    person: PersonMask | None,
    mask_source: str,
    mask_quality: MaskQualityConfig,
    crop: CropConfig,
) -> Row | str:
    """One view of one instant as ``schema.VIEW``, or the reason why it is left out."""
    if person is None:
        return "no_person"
    reason = reject_reason(person.mask, mask_quality, image_rgb=image_rgb, others=person.others)
    if reason is not None:
        return reason
    affine = crop_from_image(person.mask, size_px=crop.size_px, margin=crop.margin)
    mask = warp_mask(person.mask, affine, crop.size_px)
    if not mask.any():
        return "too_small"
    camera = clip.calibration
    return {
        "name": clip.view,
        "image": encode_image(warp_image(image_rgb, affine, crop.size_px)),
        "mask": encode_mask(mask),
        "geodesic_distance": encode_distances(geodesic_distances(mask)),
        "mask_source": f"{mask_source} {person.provenance}".rstrip(),
        "mask_score": person.score,
        "crop_from_image": affine.ravel().tolist(),
        "calibrated": camera is not None,
        "K": camera.K.ravel().tolist() if camera else [0.0] * 9,
        "R": camera.R.ravel().tolist() if camera else [0.0] * 9,
        "t_mm": camera.t_mm.tolist() if camera else [0.0] * 3,
    }


def frame_set_row(take_id: str, instant: int, *, shot: int, timestamp_s: float, views: Sequence[Row]) -> Row:
    """One instant as ``schema.FRAME_SET``."""
    return {"take_id": take_id, "instant": instant, "shot": shot, "timestamp_s": timestamp_s, "views": list(views)}
