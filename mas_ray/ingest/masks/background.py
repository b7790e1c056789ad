"""A static camera's background subtracted: distance to a plate, a Gaussian mixture's vote, and a graph cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mas_ray.ingest.masks.graph_cut import cut_edges
from mas_ray.ingest.masks.method import PersonMask
from mas_ray.ingest.masks.person import box, one_person, others_share
from mas_ray.ingest.masks.plate import change, median_plate
from mas_ray.ingest.masks.region import around

_WORK_SIZE = 320
_WORK_FACTOR = 1.3
_MIXTURE_WEIGHT = 0.25  # the mixture decides where the plate is in two minds
_FOREGROUND = 255  # OpenCV marks shadows 127

Image = UInt8[np.ndarray, "height width 3"]


class BackgroundMasker:
    """Masks what is not background and follows the largest of it."""

    def __init__(self, sampled: Sequence[Image], plate: Image | Literal["median", "mixture"], *, refine: bool) -> None:
        """Learn the scene from frames all over the clip.

        Args:
            sampled: The frames.
            plate: A picture of the empty scene; ``median``: of the frames; ``mixture``: none, the mixture decides.
            refine: Whether a graph cut moves the border to the image's edges.
        """
        self._plate: Image | None = None
        if isinstance(plate, np.ndarray):
            self._plate = plate
        elif plate == "median":
            self._plate = median_plate(sampled)
        self._mixture = cv2.createBackgroundSubtractorMOG2(history=max(2, len(sampled)), detectShadows=True)
        self._mixture.setBackgroundRatio(0.5)  # like the median: the scene is what is seen half of the time
        for frame in (*sampled, *sampled[::-1]):
            self._mixture.apply(frame)
        self._refine = refine
        self._mask: Bool[np.ndarray, "height width"] | None = None

    def __call__(self, image_rgb: Image, frame: int) -> PersonMask | None:
        """Mask a frame. The scene is fixed once learnt, so a frame's mask depends on its predecessor's place alone."""
        probability = self._probability(image_rgb)
        foreground = probability > 0.5
        mask = one_person(foreground, self._mask)
        if mask is not None and self._refine:
            mask = self._cut(image_rgb, np.where(mask, probability, np.minimum(probability, 0.5)), mask)
        self._mask = mask
        if mask is None:
            return None
        score = float(probability[mask].mean())
        return PersonMask(mask=mask, score=score, others=others_share(foreground, mask))

    def _probability(self, image: Image) -> Float32[np.ndarray, "height width"]:
        vote = self._mixture.apply(image, learningRate=0) == _FOREGROUND
        if self._plate is None:
            return cv2.GaussianBlur(vote.astype(np.float32), (0, 0), 1.0).astype(np.float32, copy=False)
        changed = change(image, self._plate)
        return ((1 - _MIXTURE_WEIGHT) * changed + _MIXTURE_WEIGHT * vote).astype(np.float32)

    def _cut(
        self,
        image: Image,
        probability: Float32[np.ndarray, "height width"],
        mask: Bool[np.ndarray, "height width"],
    ) -> Bool[np.ndarray, "height width"] | None:
        """The mask with its border moved to the image's edges, in a region around it."""
        height, width = image.shape[:2]
        region = around(box(mask), _WORK_FACTOR)
        size = min(_WORK_SIZE, max(32, round(region.side)))
        grey = np.repeat((probability * 255).astype(np.uint8)[..., None], 3, axis=2)
        person = cut_edges(
            region.crop(image, size), region.crop(grey, size)[..., 0].astype(np.float32) / np.float32(255)
        )
        return one_person(region.paste(person.astype(np.float32), height, width) > 0.5, mask)
