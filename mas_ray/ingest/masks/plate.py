"""A static camera's background plate, and how much a frame differs from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

_MOVING_CAMERA = 8.0  # grey levels: median over the picture of what the frames differ from their median
_NOISE = 6.0  # colour distance that sensor noise and compression make
_CLEAR = 20.0  # colour distance that is surely another surface
_LIGHTNESS_WEIGHT = 0.4  # a shadow is darker and of the same colour

Image = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Plate:
    """The empty scene, as far as it was ever seen."""

    image_rgb: Image
    known: Bool[np.ndarray, "height width"]
    """False where the person stood in (almost) every frame: a resting foot hides what is behind it."""


def is_static(frames_rgb: Sequence[Image]) -> bool:
    """Whether most of the picture is the same in all frames of a view."""
    stack = np.stack(frames_rgb)[:, ::4, ::4].astype(np.int16)
    deviation = np.abs(stack - np.median(stack, axis=0)).mean(axis=-1)
    return float(np.median(deviation.mean(axis=0))) < _MOVING_CAMERA


def plate_without_person(frames_rgb: Sequence[Image], persons: Sequence[Bool[np.ndarray, "height width"]]) -> Plate:
    """The per-pixel median over the frames in which a pixel is not of the person."""
    empty = ~np.stack(persons)
    stack = np.where(empty[..., None], np.stack(frames_rgb).astype(np.float32), np.float32(np.nan))
    known = empty.sum(axis=0) >= max(2, len(frames_rgb) // 8)
    stack[:, ~known] = 0.0
    return Plate(image_rgb=np.nanmedian(stack, axis=0).astype(np.uint8), known=known)


def median_plate(frames_rgb: Sequence[Image]) -> Plate:
    """The per-pixel median over all frames. Whoever stands still for half of them is in it."""
    image = np.median(np.stack(frames_rgb), axis=0).astype(np.uint8)
    return Plate(image_rgb=image, known=np.ones(image.shape[:2], bool))


def change(image_rgb: Image, plate_rgb: Image) -> Float32[np.ndarray, "height width"]:
    """Evidence in [0, 1] that a pixel shows something else than the plate: distance in Lab, smoothed a little."""
    difference = _lab(image_rgb) - _lab(plate_rgb)
    difference[..., 0] *= _LIGHTNESS_WEIGHT
    distance = cv2.GaussianBlur(np.linalg.norm(difference, axis=-1).astype(np.float32), (0, 0), 1.0)
    return np.clip((distance - _NOISE) / (_CLEAR - _NOISE), 0.0, 1.0).astype(np.float32)


def _lab(image_rgb: Image) -> Float32[np.ndarray, "height width 3"]:
    return cv2.cvtColor(image_rgb.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2Lab).astype(np.float32)
