"""What a camera saw all over a clip, laid under one frame: evidence of what does not belong to the scene.

A camera that stands still sees the same picture behind the person; one that pans, or is held in a hand, sees pictures
that homographies lay over one another (exact where it turns about itself, good where the scene is far or flat). So
frames from all over the clip are registered by ORB features, and a pixel of a new frame counts as changed if it
differs from what most of them show at its place. Where the frames cannot be registered, there is no evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from mas_ray.ingest.masks.plate import change_of_distance, is_static
from mas_ray.ingest.masks.region import Region

_LONG_SIDE_PX = 428  # at which frames are registered and compared
_NUM_FEATURES = 400
_NUM_LEVELS = 3  # of the feature pyramid: frames of a shot differ little in scale, and coarse levels place badly
_TOLERANCE_PX = 2.0
_FEWEST_MATCHES = 30
_SMALLEST_AGREEMENT = 0.25  # share of the matches that one homography must explain
_LAB_WEIGHTS = np.array([0.4 * 100 / 255, 1.0, 1.0], np.float32)  # as in ``plate.change``, for 8-bit Lab

Homography = Float64[np.ndarray, "3 3"]
Image = UInt8[np.ndarray, "height width 3"]
Mask = Bool[np.ndarray, "height width"]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Features:
    positions: Float32[np.ndarray, "features 2"]
    descriptors: UInt8[np.ndarray, "features 32"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """Evidence in [0, 1] that a pixel shows something that is not of the scene, where the scene is known."""

    changed: Float32[np.ndarray, "size size"]
    known: Bool[np.ndarray, "size size"]

    def or_unknown(self) -> Float32[np.ndarray, "size size"]:
        """The evidence, and 1 where the scene was never seen: somebody stands before it all the time."""
        return np.where(self.known, self.changed, np.float32(1.0))


class Scene:
    """Frames from all over a clip, registered; ``forget`` the person in them before trusting what they show."""

    def __init__(self, frames_rgb: Sequence[Image]) -> None:
        """Register every pair of at least one frame."""
        self.scale = min(1.0, _LONG_SIDE_PX / max(frames_rgb[0].shape[:2]))
        small = [self._shrunk(frame) for frame in frames_rgb]
        self._labs = [cv2.cvtColor(image, cv2.COLOR_RGB2Lab) for image in small]
        self._known = [np.full(image.shape[:2], 255, np.uint8) for image in small]
        features = [_features(image) for image in small]
        self._features = None if is_static(small) and not _moves(features, small[0].shape[:2]) else features
        self._last: int | None = None
        self._onto: dict[tuple[int, int], Homography] = {}
        """``[i, j]``: positions in frame j from those in frame i."""
        for i in range(len(small)):
            self._onto[i, i] = np.eye(3)
            for j in range(i):
                found = (np.eye(3), 0) if self._features is None else _register(self._features[i], self._features[j])
                if found is not None:
                    self._onto[i, j], self._onto[j, i] = found[0], np.linalg.inv(found[0])

    def forget(self, number: int, person: Mask) -> None:
        """Leave these pixels of frame ``number`` (counted among the registered ones) out from now on."""
        shape = self._known[number].shape
        small = cv2.resize(person.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_AREA)
        self._known[number][small > 0] = 0
        self._last = None

    def under(self, image_rgb: Image) -> Backdrop | None:
        """The scene as the camera sees it in this frame; None if it cannot be laid under it."""
        image = self._shrunk(image_rgb)
        onto = self._onto_frames(image)
        if onto is None:
            return None
        lab = cv2.cvtColor(image, cv2.COLOR_RGB2Lab)
        pairs = [(np.dstack([self._labs[i], self._known[i]]), H) for i, H in onto]
        return Backdrop(scale=self.scale, lab=lab, views=pairs)

    def _onto_frames(self, image: Image) -> list[tuple[int, Homography]] | None:
        """Registered frames and the homographies onto them.

        Frames come in order: each is laid on the one that the last frame was laid on, or on a neighbour of that
        one. The first frame, and one that fits none of these, is laid on the best of all.
        """
        if self._features is None:
            return [(i, np.eye(3)) for i in range(len(self._labs))]
        own = _features(image)
        everywhere = range(len(self._labs))
        near = [] if self._last is None else [i for i in everywhere if abs(i - self._last) <= 1]
        for tried in (near, [i for i in everywhere if i not in near]):
            found = [(_register(own, self._features[i]), i) for i in tried]
            agreed = [(match[1], -i, match[0]) for match, i in found if match is not None]
            if agreed:
                _, negative, H = max(agreed, key=lambda entry: entry[:2])
                self._last = -negative
                return [(j, self._onto[i, j] @ H) for i, j in sorted(self._onto) if i == self._last]
        return None

    def _shrunk(self, image: Image) -> UInt8[np.ndarray, "rows columns 3"]:
        size = tuple(max(1, round(side * self.scale)) for side in image.shape[1::-1])
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Backdrop:
    """The registered frames under one frame, and that frame (``lab``), all shrunk by ``scale``."""

    scale: float
    lab: Image
    views: Sequence[tuple[UInt8[np.ndarray, "rows columns 4"], Homography]]
    """Lab and, as a fourth channel, 0 where nothing is known; with the homography from the frame."""

    def change(self, region: Region, size: int) -> Change:
        """Evidence of change on a region of the frame (in its own pixels), at ``size`` x ``size``."""
        crop_from_frame = region.scaled(self.scale).crop_from_image(size)
        frame = cv2.warpAffine(self.lab, crop_from_frame[:2], (size, size), borderMode=cv2.BORDER_REPLICATE)
        distances = np.full((len(self.views), size, size), np.inf, np.float32)
        for distance, (view, view_from_frame) in zip(distances, self.views, strict=True):
            seen = cv2.warpPerspective(view, crop_from_frame @ np.linalg.inv(view_from_frame), (size, size))
            difference = (frame.astype(np.float32) - seen[..., :3]) * _LAB_WEIGHTS
            apart = cv2.GaussianBlur(np.sqrt(np.square(difference).sum(axis=-1)), (0, 0), 0.7)
            np.copyto(distance, apart, where=seen[..., 3] == np.iinfo(np.uint8).max)
        distances.sort(axis=0)
        count = np.isfinite(distances).sum(axis=0)
        middle = np.take_along_axis(distances, (np.maximum(count, 1) // 2)[None].clip(max=len(distances) - 1), axis=0)
        inside = cv2.warpAffine(np.ones(self.lab.shape[:2], np.uint8), crop_from_frame[:2], (size, size)) > 0
        known = inside & (count >= max(2, len(distances) // 8))
        return Change(changed=change_of_distance(np.where(known, middle[0], 0.0).astype(np.float32)), known=known)


def _features(image: Image) -> _Features:
    detector = cv2.ORB.create(_NUM_FEATURES, nlevels=_NUM_LEVELS, fastThreshold=7)
    found, descriptors = detector.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
    if not found:  # then OpenCV has no array of descriptors either
        return _Features(positions=np.zeros((0, 2), np.float32), descriptors=np.zeros((0, 32), np.uint8))
    positions = np.array([point.pt for point in found], np.float32)
    return _Features(positions=positions, descriptors=descriptors.astype(np.uint8, copy=False))


def _moves(features: Sequence[_Features], shape: tuple[int, int]) -> bool:
    """Whether the picture's centre wanders: a camera that pans over smooth surfaces changes few pixels by much."""
    centre = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2, 1.0])
    found = [_register(features[0], other) for other in features[1:]]
    ends = [H @ centre for H, _ in (match for match in found if match is not None)]
    return any(float(np.linalg.norm(end[:2] / end[2] - centre[:2])) > _TOLERANCE_PX for end in ends)


def _register(own: _Features, other: _Features) -> tuple[Homography, int] | None:
    """The homography from own to other positions and how many matches agree with it; None if too few do."""
    if not len(own.positions) or not len(other.positions):
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(own.descriptors, other.descriptors)
    if len(matches) < _FEWEST_MATCHES:
        return None
    source = own.positions[[match.queryIdx for match in matches]]
    target = other.positions[[match.trainIdx for match in matches]]
    # RANSAC draws from a generator of its own that starts the same in every call
    H, agrees = cv2.findHomography(source, target, cv2.RANSAC, _TOLERANCE_PX, maxIters=500)
    num_agreeing = int(np.count_nonzero(agrees))  # 0 where there is no homography: both are None then
    if num_agreeing < max(_FEWEST_MATCHES, _SMALLEST_AGREEMENT * len(matches)):
        return None
    return H.astype(np.float64, copy=False), num_agreeing
