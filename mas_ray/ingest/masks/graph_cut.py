"""Graph cut (GrabCut): sharpening a coarse mask at the image's own edges, and a person from a box alone."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mas_ray.ingest.masks.method import PersonMask, ViewMasker
from mas_ray.ingest.masks.person import box, one_person
from mas_ray.ingest.masks.region import around

_ITERATIONS = 2
_BOX_ITERATIONS = 4
_BOX_SIZE = 320
_BOX_MARGIN = 1.1
_BOX_FACTOR = 1.6
_SURE = 0.9


class GraphCutMasker:
    """Graph cut on its own: inside another method's box, what is coloured unlike its surroundings is the person."""

    def __init__(self, seed: ViewMasker) -> None:
        self._seed = seed

    def __call__(self, image_rgb: UInt8[np.ndarray, "height width 3"], frame: int) -> PersonMask | None:
        """Mask a frame; None if the seed finds nobody or all colours in its box are those around it."""
        found = self._seed(image_rgb, frame)
        if found is None:
            return None
        height, width = image_rgb.shape[:2]
        left, top, right, bottom = box(found.mask)
        work = around((left, top, right, bottom), _BOX_FACTOR)
        inside = np.zeros((height, width), np.uint8)
        across, down = (_BOX_MARGIN - 1) / 2 * (right - left + 1), (_BOX_MARGIN - 1) / 2 * (bottom - top + 1)
        rows = slice(max(0, round(top - down)), round(bottom + down) + 1)
        inside[rows, max(0, round(left - across)) : round(right + across) + 1] = 1
        boxed = work.crop(np.repeat(inside[..., None], 3, axis=2), _BOX_SIZE)[..., 0] > 0
        person = _cut_box(work.crop(image_rgb, _BOX_SIZE), boxed)
        mask = one_person(work.paste(person.astype(np.float32), height, width) > 0.5, found.mask)
        return None if mask is None else replace(found, mask=mask)


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
    return _cut(image_rgb, trimap, _ITERATIONS)


def _cut_box(
    image_rgb: UInt8[np.ndarray, "size size 3"], inside: Bool[np.ndarray, "size size"]
) -> Bool[np.ndarray, "size size"]:
    if inside.all() or not inside.any():
        return inside
    return _cut(image_rgb, np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8), _BOX_ITERATIONS)


def _cut(
    image_rgb: UInt8[np.ndarray, "height width 3"], trimap: UInt8[np.ndarray, "height width"], iterations: int
) -> Bool[np.ndarray, "height width"]:
    cv2.setRNGSeed(0)
    bgr = np.ascontiguousarray(image_rgb[..., ::-1])
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(bgr, trimap, (0, 0, 1, 1), *models, iterations, cv2.GC_INIT_WITH_MASK)
    return (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)


def _disc(radius_px: int) -> UInt8[np.ndarray, "size size"]:
    size = 2 * radius_px + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)).astype(np.uint8, copy=False)
