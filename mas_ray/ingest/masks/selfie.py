"""The selfie segmentation network (MediaPipe, 256 x 256) on the person's region, refined by graph cut.

The network was made for a person who fills the picture. So the person is first found in the whole frame and in tiles
of it, and then followed by a square region around the last mask; the answers for regions of several sizes and turns
are averaged. The scene without the person is put together from frames all over the clip, of a camera that stands or
pans, and what has changed against it settles the network's doubts: it gives back limbs that the network does not see,
and takes away bystanders that it takes for parts of the person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mas_ray.ingest.masks.graph_cut import cut_edges
from mas_ray.ingest.masks.method import PersonMask
from mas_ray.ingest.masks.person import box, one_person, others_share
from mas_ray.ingest.masks.region import Region, around, tiles
from mas_ray.ingest.masks.scene import Backdrop, Change, Scene

_NETWORK_SIZE = 256
_WORK_SIZE = 320
_WORK_FACTOR = 1.6
_ASKED = ((1.25, 0.0), (1.6, 0.0), (1.4, -25.0), (1.4, 25.0), (1.6, -50.0), (1.6, 50.0))
"""The regions asked: side as a multiple of the person's box, and turn in degrees. The network knows people who stand
upright; of somebody who bends over, it sees the upper body only in a turned picture."""
_FIND_ROUNDS = 3
_FOUND = 0.4
_MOVING_SHARE = 0.25  # of a blob of people: less may be an arm alone that moves
_SHRINK = 0.95  # of the box's side per frame at most: a limb lost for a frame must not fall out of the region
_MARGIN = 0.05  # of the person's box: left out of the scene around the network's coarse mask
_CHANGE_SIZE = 160
_CHECK_SIZE = 64
_SCENERY = 0.2  # mean evidence of change below which a mask is not of somebody who moves
_LOOK_SIZE = 160
_LOOK_EVERY = 10  # frames between looks for other people
_STILL, _CHANGED = -1.0, 4.0  # log-odds of "person" where the picture is the scene's, and where it is not

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
        """Take frames from all over the clip (``sampled``, in order) to learn what the scene looks like."""
        self._network = network
        self._refine = refine
        self._box: Box | None = None
        self._mask: Mask | None = None
        self._others = 0.0
        self._until_look = 0
        self._scene = _learn_scene(network, sampled) if len(sampled) > 2 else None

    def __call__(self, image_rgb: Image, frame: int) -> PersonMask | None:
        """Mask a frame; a person lost from sight is looked for in the whole frame."""
        backdrop = self._scene.under(image_rgb) if self._scene else None
        found = self._segment(image_rgb, self._box, backdrop) if self._box else None
        if found is None or _is_scenery(found.mask, backdrop):
            found = self._discover(image_rgb, backdrop)
        if self._until_look == 0 and found is not None:
            self._others = _others(self._network, image_rgb, found.mask)
        self._until_look = (self._until_look - 1) % _LOOK_EVERY
        self._mask = None if found is None else found.mask
        return None if found is None else replace(found, others=self._others)

    def _discover(self, image: Image, backdrop: Backdrop | None) -> PersonMask | None:
        self._mask, self._box = None, _find(self._network, image, backdrop)
        found = None
        for _ in range(_FIND_ROUNDS):
            found = None if self._box is None else self._segment(image, self._box, backdrop)
        return found

    def _segment(self, image: Image, place: Box, backdrop: Backdrop | None) -> PersonMask | None:
        """The person in the region around a box, which moves along."""
        work = around(place, _WORK_FACTOR)
        picture = work.crop(image, _WORK_SIZE)
        probability = _ask(self._network, image, place, work, _ASKED)
        if backdrop is not None:
            probability = _reconsidered(probability, backdrop.change(work, _CHANGE_SIZE))
        person = cut_edges(picture, probability) if self._refine else probability > 0.5
        height, width = image.shape[:2]
        mask = one_person(work.paste(person.astype(np.float32), height, width) > 0.5, self._mask)
        self._box = None if mask is None else _followed(place, box(mask))
        return None if mask is None else PersonMask(mask=mask, score=float(probability[person].mean()))


def _learn_scene(network: SegmentationNetwork, sampled: Sequence[Image]) -> Scene:
    """The scene without the person, who is looked for in every frame alone: between these, anybody may go far.

    Of several people, the one is left out who moves against what most frames show.
    """
    scene = Scene(sampled)
    persons = [_coarse_person(network, image, scene.under(image)) for image in sampled]
    for number, person in enumerate(persons):
        scene.forget(number, person)
    return scene


def _coarse_person(network: SegmentationNetwork, image: Image, backdrop: Backdrop | None) -> Mask:
    """The person of a frame and a margin; everything if nobody was found where somebody should be."""
    height, width = image.shape[:2]
    place = _find(network, image, backdrop)
    if place is None:
        return np.ones((height, width), bool)
    work = around(place, _WORK_FACTOR)
    probability = _ask(network, image, place, work, _ASKED[:2])
    mask = one_person(work.paste(probability, height, width) > 0.5)
    if mask is not None:  # what was found may have been a part: the region is centred anew, and all is asked
        place = box(mask)
        work = around(place, _WORK_FACTOR)
        probability = _ask(network, image, place, work, _ASKED)
    reach = max(1, round(_MARGIN * _WORK_SIZE / _WORK_FACTOR))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    person = cv2.dilate((probability > 0.5).astype(np.float32), kernel).astype(np.float32, copy=False)
    return work.paste(person, height, width) > 0.5


def _look(
    network: SegmentationNetwork, image: Image
) -> tuple[Float32[np.ndarray, "size size"], Bool[np.ndarray, "size size"]]:
    """The network's answer for the whole picture and tiles of it, and where the picture is.

    The grid is a square over the longer side, from the picture's top left corner.
    """
    height, width = image.shape[:2]
    scale = _LOOK_SIZE / max(height, width)
    total = np.zeros((_LOOK_SIZE, _LOOK_SIZE), np.float32)
    seen = np.full((_LOOK_SIZE, _LOOK_SIZE), 1e-6, np.float32)
    everywhere = np.ones((_NETWORK_SIZE, _NETWORK_SIZE), np.float32)
    for tile in tiles(height, width):
        small = tile.scaled(scale)
        total += small.paste(network(tile.crop(image, _NETWORK_SIZE)), _LOOK_SIZE, _LOOK_SIZE)
        seen += small.paste(everywhere, _LOOK_SIZE, _LOOK_SIZE)
    inside = np.zeros((_LOOK_SIZE, _LOOK_SIZE), bool)
    inside[: max(1, round(height * scale)), : max(1, round(width * scale))] = True
    return np.where(inside, total / seen, np.float32(0.0)), inside


def _find(network: SegmentationNetwork, image: Image, backdrop: Backdrop | None) -> Box | None:
    """The box of what looks most like a person; among several, of the one that does not belong to the scene.

    Bystanders behind the person make one blob with them; they are cut off where enough of the blob has moved.
    """
    probability, _ = _look(network, image)
    side = max(image.shape[:2])
    blob = probability > _FOUND
    if backdrop is not None:
        moved = backdrop.change(Region(left=0.0, top=0.0, side=float(side)), _LOOK_SIZE).or_unknown()
        blob = _heaviest(blob, probability * (0.1 + moved))
        moving = _heaviest(blob & (moved > 0.5), probability)
        if int(moving.sum()) >= _MOVING_SHARE * int(blob.sum()):
            blob = moving
    blob = _heaviest(blob, probability)
    if not blob.any():
        return None
    left, top, right, bottom = (round(corner * side / _LOOK_SIZE) for corner in box(blob))
    return left, top, right, bottom


def _heaviest(
    mask: Bool[np.ndarray, "size size"], weights: Float32[np.ndarray, "size size"]
) -> Bool[np.ndarray, "size size"]:
    """The component of a mask over which the weights sum to most; empty if the mask is."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8))
    masses = np.bincount(labels.ravel(), weights=weights.ravel())
    return mask & (labels == 1 + int(np.argmax(masses[1:]))) if len(masses) > 1 else mask


def _others(network: SegmentationNetwork, image: Image, person: Mask) -> float:
    """Area of further people in the whole picture, as a share of the person's."""
    probability, inside = _look(network, image)
    rows, columns = int(inside.any(axis=1).sum()), int(inside.any(axis=0).sum())
    small = cv2.resize(person.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_AREA)
    return others_share(probability[:rows, :columns] > 0.5, small.astype(bool))


def _ask(
    network: SegmentationNetwork, image: Image, place: Box, work: Region, asked: Sequence[tuple[float, float]]
) -> Float32[np.ndarray, "size size"]:
    """The network's answers for several regions around a box, averaged on the working region."""
    total = np.zeros((_WORK_SIZE, _WORK_SIZE), np.float32)
    for factor, angle_deg in asked:
        region = around(place, factor, angle_deg)
        total += region.seen_by(work, network(region.crop(image, _NETWORK_SIZE)), _WORK_SIZE)
    return total / len(asked)


def _reconsidered(probability: Float32[np.ndarray, "size size"], change: Change) -> Float32[np.ndarray, "size size"]:
    """The network's log-odds plus those of the change against the scene. A change says more than its absence."""
    evidence = np.where(change.known, _STILL + (_CHANGED - _STILL) * change.changed, 0.0).astype(np.float32)
    evidence = cv2.resize(evidence, probability.shape[::-1], interpolation=cv2.INTER_LINEAR)
    clipped = np.clip(probability, 0.02, 0.98)
    return (1.0 / (1.0 + np.exp(-np.log(clipped / (1.0 - clipped)) - evidence))).astype(np.float32)


def _is_scenery(mask: Mask, backdrop: Backdrop | None) -> bool:
    """Whether a mask shows what is there in most frames: a track that has gone over to a bystander."""
    if backdrop is None:
        return False
    place = around(box(mask), 1.0)
    change = backdrop.change(place, _CHECK_SIZE)
    inside = place.crop(np.repeat(mask[..., None].astype(np.uint8), 3, axis=2), _CHECK_SIZE)[..., 0] > 0
    known = inside & change.known
    return int(known.sum()) > int(inside.sum()) / 2 and float(change.changed[known].mean()) < _SCENERY


def _followed(old: Box, new: Box) -> Box:
    """The new box, grown about its centre where it shrinks faster than a person can."""
    wanted = _SHRINK * max(old[2] - old[0], old[3] - old[1])
    grow = max(0, round((wanted - max(new[2] - new[0], new[3] - new[1])) / 2))
    return new[0] - grow, new[1] - grow, new[2] + grow, new[3] + grow
