"""What single frames look like: of one colour, lit by a flash, the same as before, sharp or blurred."""

from __future__ import annotations

import math
from collections import deque

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mas_ray.config.ingest import CurationConfig
from mas_ray.ingest.masks.person import box

_NUM_CELLS = 40
"""Cells along a picture's longer side: their means forget noise and compression, and still see a hand move."""
_REMEMBERED = 3
"""Kept pictures that a new one is compared with: more than one, or a picture that blinks would be new forever."""
_SHARPNESS_SIZE = 213
"""Pixels of the person's longer side at which sharpness is measured: that of a person in a crop of 256."""
_OUTLINE_PX = 3  # around the person, at that size
_ROUNDING = 20 / 12
"""Variance of the Laplacian of whole levels' rounding errors: in fog there is nothing else."""
_FLASH_REACH = 6
"""Frames on each side that tell the usual brightness."""


def cells(image_rgb: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "rows columns"]:
    """The mean brightness of the picture's cells, ``_NUM_CELLS`` along its longer side."""
    grey = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)
    longer = max(grey.shape)
    rows, columns = (max(1, round(side * _NUM_CELLS / longer)) for side in grey.shape)
    return cv2.resize(grey, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def is_blank(picture: UInt8[np.ndarray, "rows columns"], config: CurationConfig) -> bool:
    """Whether a picture's cells are all of one brightness: black, white, or out of any focus."""
    return float(picture.std()) < config.min_contrast


class Repeats:
    """Tells of pictures, given in order, whether they show what one of the last kept ones showed."""

    def __init__(self, config: CurationConfig) -> None:
        self._config = config
        self._kept: deque[UInt8[np.ndarray, "rows columns"]] = deque(maxlen=_REMEMBERED)

    def is_repeated(self, picture: UInt8[np.ndarray, "rows columns"]) -> bool:
        """Whether nothing moved; a picture in which something did is kept to compare the next ones with."""
        if any(float(cv2.norm(picture, old, cv2.NORM_INF)) < self._config.min_change for old in self._kept):
            return True
        self._kept.append(picture)
        return False


def flashes(brightness: Float32[np.ndarray, " frames"], config: CurationConfig) -> Bool[np.ndarray, " frames"]:
    """Which frames of one shot are much brighter than usual around them (mean brightness, levels of 255)."""
    if not brightness.size:
        return np.zeros(0, bool)
    padded = np.pad(brightness, _FLASH_REACH, mode="reflect" if brightness.size > _FLASH_REACH else "edge")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * _FLASH_REACH + 1), axis=1)
    return brightness - usual > config.max_flash


def sharpness(image_rgb: UInt8[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"]) -> float:
    """How much of a person's contrast lies between neighbouring pixels; 0 where there is no contrast.

    The variance of the Laplacian over the variance of the brightness, on the person and the outline alone: neither
    light nor the colour of clothes counts, nor a background that stays sharp behind somebody who moves. A person
    larger than ``_SHARPNESS_SIZE`` is shrunk to it first, so that large ones need no finer detail than small ones.

    Raises:
        ValueError: The mask is empty.
    """
    if not mask.any():
        raise ValueError("mask: expected at least one pixel")
    left, top, right, bottom = box(mask)
    scale = min(1.0, _SHARPNESS_SIZE / (1 + max(right - left, bottom - top)))
    margin = math.ceil(_OUTLINE_PX / scale)
    inside = (slice(max(0, top - margin), bottom + 1 + margin), slice(max(0, left - margin), right + 1 + margin))
    grey, person = cv2.cvtColor(image_rgb[inside], cv2.COLOR_RGB2GRAY), mask[inside].astype(np.uint8)
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    grey, person = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (grey, person))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _OUTLINE_PX + 1, 2 * _OUTLINE_PX + 1))
    seen = cv2.dilate(person, kernel) > 0
    contrast = float(grey[seen].var())
    edges = max(0.0, float(cv2.Laplacian(grey, cv2.CV_32F)[seen].var()) - _ROUNDING)
    return edges / contrast if contrast > 1.0 else 0.0
