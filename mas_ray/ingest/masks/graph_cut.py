"""Sharpening a coarse mask at the image's own edges by graph cut (GrabCut), in a narrow band."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

_ITERATIONS = 2
_SURE = 0.9


def cut_edges(
    image_rgb: UInt8[np.ndarray, "height width 3"],
    probability: Float32[np.ndarray, "height width"],
    *,
    inside_px: int = 2,
    outside_px: int = 4,
) -> Bool[np.ndarray, "height width"]:
    """Move the border of ``probability > 0.5`` to where colours change, by a few pixels at most.

    Pixels further inside or outside than that, and those surely of the person, stay what they are: a cut that may
    choose freely trades thin limbs for short borders. OpenCV initialises its colour models at random; the seed is
    set here, so equal input gives an equal mask.
    """
    likely = probability > 0.5
    inner = cv2.erode(likely.astype(np.uint8), _disc(inside_px)).astype(bool) | (probability > _SURE)
    outer = cv2.dilate(likely.astype(np.uint8), _disc(outside_px)).astype(bool)
    trimap = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[inner] = cv2.GC_FGD
    trimap[~outer] = cv2.GC_BGD
    if not inner.any() or outer.all():
        return likely
    cv2.setRNGSeed(0)
    bgr = np.ascontiguousarray(image_rgb[..., ::-1])
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(bgr, trimap, (0, 0, 1, 1), *models, _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    return (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)


def _disc(radius_px: int) -> UInt8[np.ndarray, "size size"]:
    size = 2 * radius_px + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)).astype(np.uint8, copy=False)
