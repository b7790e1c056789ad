"""The selfie segmentation network (MediaPipe, 256 x 256) on the person's region, refined by graph cut.

The network was made for a person who fills the picture. So the person is first found in the whole frame and in tiles
of it, and then followed by a square region around the last mask; the answers for regions of several sizes and turns
are averaged. Where the camera stands still, the scene without the person is put together from frames all
over the clip, and what has changed against it settles the network's doubts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mas_ray.ingest.masks.graph_cut import cut_edges
from mas_ray.ingest.masks.method import PersonMask
from mas_ray.ingest.masks.person import box, one_person
from mas_ray.ingest.masks.plate import Plate, change, is_static, plate_without_person
from mas_ray.ingest.masks.region import Region, around, tiles

_NETWORK_SIZE = 256
_WORK_SIZE = 320
_WORK_FACTOR = 1.6
_ASKED = ((1.25, 0.0), (1.6, 0.0), (1.4, -25.0), (1.4, 25.0), (1.6, -50.0), (1.6, 50.0))
"""The regions asked: side as a multiple of the person's box, and turn in degrees. The network knows people who stand
upright; of somebody who bends over, it sees the upper body only in a turned picture."""
_FIND_ROUNDS = 3
_FOUND = 0.4
_SHRINK = 0.95  # of the box's side per frame at most: a limb lost for a frame must not fall out of the region
_PLATE_SCALE = 0.25
_PLATE_MARGIN = 0.05  # of the person's box: left out of the plate around the network's coarse mask
_STILL, _CHANGED = -1.0, 4.0  # log-odds of "person" where the picture is the plate's, and where it is not

Box = tuple[int, int, int, int]
Image = UInt8[np.ndarray, "height width 3"]
Mask = Bool[np.ndarray, "height width"]


@runtime_checkable
class SegmentationNetwork(Protocol):
    """Probability of "person" for each pixel of a 256 x 256 RGB image."""

    def __call__(self, image_rgb: UInt8[np.ndarray, "256 256 3"]) -> Float32[np.ndarray, "256 256"]:
        """Segment one image."""
        ...


class SelfieNetwork:
    """The TFLite model run by OpenCV's dnn module."""

    def __init__(self, model: Path) -> None:
        self._net = cv2.dnn.readNetFromTFLite(str(model))

    def __call__(self, image_rgb: UInt8[np.ndarray, "256 256 3"]) -> Float32[np.ndarray, "256 256"]:
        """Segment one image."""
        self._net.setInput(cv2.dnn.blobFromImage(image_rgb, 1 / 255.0))
        return self._net.forward()[0, 0].copy()


class SelfieMasker:
    """Finds and follows one person through the frames of a view."""

    def __init__(self, network: SegmentationNetwork, sampled: Sequence[Image], *, refine: bool) -> None:
        """Take frames from all over the clip (``sampled``, in order) to learn what the empty scene looks like."""
        self._network = network
        self._refine = refine
        self._box: Box | None = None
        self._mask: Mask | None = None
        self._plate: Plate | None = None
        small = [_resized(frame, _PLATE_SCALE) for frame in sampled]
        if len(small) > 2 and is_static(small):
            pairs = zip(sampled, small, strict=True)
            persons = [self._coarse_person(frame, image.shape[:2]) for frame, image in pairs]
            self._plate = plate_without_person(small, persons)
            self._box = self._mask = None

    def __call__(self, image_rgb: Image, frame: int) -> PersonMask | None:
        """Mask a frame; a person lost from sight is looked for in the whole next frame."""
        place = self._box or self._find(image_rgb)
        found = None
        for _ in range(1 if self._box else _FIND_ROUNDS):
            found = None if place is None else self._segment(image_rgb, place)
            place = None if found is None or place is None else _followed(place, box(found.mask))
        self._box, self._mask = place, None if found is None else found.mask
        return found

    def _coarse_person(self, image: Image, shape: tuple[int, int]) -> Bool[np.ndarray, "rows columns"]:
        """The person of a frame and a margin, on the plate's grid."""
        found = self(image, 0)
        if found is None:
            return np.ones(shape, bool)  # nobody was found where somebody should be: no pixel is trusted
        left, top, right, bottom = box(found.mask)
        reach = max(1, round(_PLATE_SCALE * _PLATE_MARGIN * max(right - left, bottom - top)))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        small = cv2.resize(found.mask.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_AREA)
        return cv2.dilate(small, kernel).astype(bool)

    def _find(self, image: Image) -> Box | None:
        """The box of what looks most like a person; among several, of the one that is not in the plate."""
        height, width = image.shape[:2]
        probability = np.zeros((height, width), np.float32)
        seen = np.full((height, width), 1e-6, np.float32)
        for region in tiles(height, width):
            probability += region.paste(self._network(region.crop(image, _NETWORK_SIZE)), height, width)
            seen += region.paste(np.ones((_NETWORK_SIZE, _NETWORK_SIZE), np.float32), height, width)
        small = _resized(image, _PLATE_SCALE)
        size = (small.shape[1], small.shape[0])
        probability = cv2.resize(probability / seen, size, interpolation=cv2.INTER_AREA)
        count, labels = cv2.connectedComponents((probability > _FOUND).astype(np.uint8))
        if count < 2:
            return None
        moved = np.ones(labels.shape) if self._plate is None else 0.1 + change(small, self._plate.image_rgb)
        masses = np.bincount(labels.ravel(), weights=(probability * moved).ravel())
        corners = box(labels == 1 + int(np.argmax(masses[1:])))
        left, top, right, bottom = (round(corner / _PLATE_SCALE) for corner in corners)
        return left, top, right, bottom

    def _segment(self, image: Image, place: Box) -> PersonMask | None:
        """The person in the region around a box."""
        work = around(place, _WORK_FACTOR)
        picture = work.crop(image, _WORK_SIZE)
        probability = self._probability(image, place, work)
        if self._plate is not None:
            probability = _reconsidered(probability, picture, self._plate, work.scaled(_PLATE_SCALE))
        person = cut_edges(picture, probability) if self._refine else probability > 0.5
        height, width = image.shape[:2]
        mask = one_person(work.paste(person.astype(np.float32), height, width) > 0.5, self._mask)
        return None if mask is None else PersonMask(mask=mask, score=float(probability[person].mean()))

    def _probability(self, image: Image, place: Box, work: Region) -> Float32[np.ndarray, "size size"]:
        """The network's answers for several regions, averaged on the working region."""
        total = np.zeros((_WORK_SIZE, _WORK_SIZE), np.float32)
        for factor, angle_deg in _ASKED:
            region = around(place, factor, angle_deg)
            total += region.seen_by(work, self._network(region.crop(image, _NETWORK_SIZE)), _WORK_SIZE)
        return total / len(_ASKED)


def _reconsidered(
    probability: Float32[np.ndarray, "size size"],
    picture: UInt8[np.ndarray, "size size 3"],
    plate: Plate,
    region: Region,
) -> Float32[np.ndarray, "size size"]:
    """The network's log-odds plus those of the change against the plate. A change says more than its absence."""
    size = probability.shape[0]
    changed = change(picture, region.crop(plate.image_rgb, size))
    known = region.crop(np.repeat(plate.known[..., None], 3, axis=2).astype(np.uint8), size)[..., 0] > 0
    evidence = np.where(known, _STILL + (_CHANGED - _STILL) * changed, 0.0)
    clipped = np.clip(probability, 0.02, 0.98)
    return (1.0 / (1.0 + np.exp(-np.log(clipped / (1.0 - clipped)) - evidence))).astype(np.float32)


def _followed(old: Box, new: Box) -> Box:
    """The new box, grown about its centre where it shrinks faster than a person can."""
    wanted = _SHRINK * max(old[2] - old[0], old[3] - old[1])
    grow = max(0, round((wanted - max(new[2] - new[0], new[3] - new[1])) / 2))
    return new[0] - grow, new[1] - grow, new[2] + grow, new[3] + grow


def _resized(image: Image, scale: float) -> UInt8[np.ndarray, "rows columns 3"]:
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
