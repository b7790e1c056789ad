"""The square around the person: where it lies, and images and masks warped into it without aliasing."""

from __future__ import annotations

import math

import cv2
import numpy as np
from jaxtyping import Bool, Float64, UInt8


def crop_from_image(
    mask: Bool[np.ndarray, "height width"], *, size_px: int, margin: float
) -> Float64[np.ndarray, "2 3"]:
    """The affine map from image to crop pixels (centres at integers).

    The square is centred on the mask's box and ``margin`` times as wide as the box's longer side; it may reach
    over the image's border.

    Raises:
        ValueError: The mask is empty.
    """
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not columns.size:
        raise ValueError("mask: expected at least one pixel")
    # A box spans its pixels' edges; the crop's edges lie at -1/2 and size - 1/2.
    centre_px = np.array([columns[0] + columns[-1], rows[0] + rows[-1]]) / 2
    side_px = margin * max(columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
    scale = size_px / side_px
    offset_px = (size_px - 1) / 2 - scale * centre_px
    return np.array([[scale, 0.0, offset_px[0]], [0.0, scale, offset_px[1]]], dtype=np.float64)


def warp_image(
    image: UInt8[np.ndarray, "height width 3"], crop_from_image: Float64[np.ndarray, "2 3"], size_px: int
) -> UInt8[np.ndarray, "size size 3"]:
    """The crop of an image: area-averaged where it shrinks, bilinear where it grows, black beyond the border."""
    return _warp(image, crop_from_image, size_px)


def warp_mask(
    mask: Bool[np.ndarray, "height width"], crop_from_image: Float64[np.ndarray, "2 3"], size_px: int
) -> Bool[np.ndarray, "size size"]:
    """The crop of a mask: the pixels that it covers at least half."""
    return _warp(mask.astype(np.uint8) * np.uint8(255), crop_from_image, size_px) >= 128


def _warp(pixels: np.ndarray, crop_from_image: np.ndarray, size_px: int) -> np.ndarray:
    """Warp onto a grid at least as fine as the source, then average whole boxes of it."""
    shrink = math.sqrt(abs(np.linalg.det(crop_from_image[:, :2]))) ** -1
    supersampling = max(1, math.ceil(shrink - 1e-9))
    fine_from_crop = np.array(
        [[supersampling, 0, (supersampling - 1) / 2], [0, supersampling, (supersampling - 1) / 2]]
    )
    fine_from_image = fine_from_crop[:, :2] @ crop_from_image
    fine_from_image[:, 2] += fine_from_crop[:, 2]
    fine_px = size_px * supersampling
    fine = cv2.warpAffine(pixels, fine_from_image, (fine_px, fine_px), flags=cv2.INTER_LINEAR)
    if supersampling == 1:
        return fine
    return cv2.resize(fine, (size_px, size_px), interpolation=cv2.INTER_AREA)
