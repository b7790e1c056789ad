"""Whoever moves against the scene, with a camera that stands or pans: no network, no knowledge of people."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mas_ray.ingest.masks.method import PersonMask
from mas_ray.ingest.masks.person import one_person, others_share
from mas_ray.ingest.masks.region import Region
from mas_ray.ingest.masks.scene import Scene

_SIZE = 320
_CLOSING = 7  # pixels of that size: joins what clothes of the scene's colours cut apart
_SMALLEST = 0.01  # share of the picture: a smaller moving part is noise

Image = UInt8[np.ndarray, "height width 3"]


class MotionMasker:
    """Masks the largest part of a frame that differs from what most of the clip shows at its place."""

    def __init__(self, sampled: Sequence[Image]) -> None:
        """Learn the scene from frames all over the clip."""
        self._scene = Scene(sampled)
        self._previous: Bool[np.ndarray, "size size"] | None = None

    def __call__(self, image_rgb: Image, frame: int) -> PersonMask | None:
        """Mask a frame; None if nothing moves or the frame cannot be laid on the scene."""
        backdrop = self._scene.under(image_rgb)
        if backdrop is None:
            return None
        height, width = image_rgb.shape[:2]
        whole = Region(left=0.0, top=0.0, side=float(max(height, width)))
        change = backdrop.change(whole, _SIZE)
        moved: Float32[np.ndarray, "size size"] = np.where(change.known, change.changed, np.float32(0.0))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_CLOSING, _CLOSING))
        moving = cv2.morphologyEx((moved > 0.5).astype(np.uint8), cv2.MORPH_CLOSE, kernel).astype(bool)
        person = one_person(moving, self._previous)
        self._previous = person
        if person is None or int(person.sum()) < _SMALLEST * _SIZE * _SIZE * min(height, width) / whole.side:
            return None
        mask = whole.paste(person.astype(np.float32), height, width) > 0.5
        return PersonMask(mask=mask, score=float(moved[person].mean()), others=others_share(moving, person))
