"""A static camera's background plate, and how much a frame differs from it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

_MOVING_CAMERA = 4.0  # grey levels by which most of the picture differs from its median in half of the frames
_NOISE = 6.0  # colour distance that sensor noise and compression make
_CLEAR = 20.0  # colour distance that is surely another surface
_LIGHTNESS_WEIGHT = 0.4  # a shadow is darker and of the same colour

Image = UInt8[np.ndarray, "height width 3"]


def is_static(frames_rgb: Sequence[Image]) -> bool:
    """Whether most of the picture is the same in all frames of a view."""
    stack = np.stack(frames_rgb)[:, ::4, ::4].astype(np.int16)
    deviation = np.abs(stack - np.median(stack, axis=0)).mean(axis=-1)
    return float(np.median(np.median(deviation, axis=0))) < _MOVING_CAMERA


def median_plate(frames_rgb: Sequence[Image]) -> Image:
    """The per-pixel median over all frames. Whoever stands still for half of them is in it."""
    return np.median(np.stack(frames_rgb), axis=0).astype(np.uint8)


def change(image_rgb: Image, plate_rgb: Image) -> Float32[np.ndarray, "height width"]:
    """Evidence in [0, 1] that a pixel shows something else than the plate: distance in Lab, smoothed a little."""
    difference = _lab(image_rgb) - _lab(plate_rgb)
    difference[..., 0] *= _LIGHTNESS_WEIGHT
    return change_of_distance(cv2.GaussianBlur(np.linalg.norm(difference, axis=-1).astype(np.float32), (0, 0), 1.0))


def change_of_distance(distance: Float32[np.ndarray, "height width"]) -> Float32[np.ndarray, "height width"]:
    """That evidence from the distance in Lab, lightness counted less."""
    return np.clip((distance - _NOISE) / (_CLEAR - _NOISE), 0.0, 1.0).astype(np.float32)


def _lab(image_rgb: Image) -> Float32[np.ndarray, "height width 3"]:
    return cv2.cvtColor(image_rgb.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2Lab).astype(np.float32)
