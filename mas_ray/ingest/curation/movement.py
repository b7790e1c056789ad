"""A clip's fingerprint: what moves in it, where and when. Copies share it at any size, rate and compression.

The usual perceptual hashes see the whole picture, and clips of many performances before one background would all be
copies of each other. So frames are compared with their mean over the clip: what stands still vanishes.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

_NUM_FRAMES = 8
_SIZE = 12
"""Cells of the fingerprint along each side of the picture."""
_MOVED = 1.0  # a cell has changed where it differs from the mean by more than this multiple of the typical difference
_LEAST_LEVELS = 1.0  # a typical difference below this many levels of 255 is noise
_FEWEST_CELLS = 24  # less movement tells nothing

NUM_BITS = 2 * _NUM_FRAMES * _SIZE * _SIZE


def sampled_frames(num_frames: int) -> tuple[int, ...]:
    """The frames that make a clip's fingerprint, evenly spread over its length."""
    return tuple(int((k + 0.5) * num_frames / _NUM_FRAMES) for k in range(_NUM_FRAMES))


class Movement:
    """Takes a clip's frames in order and makes its fingerprint."""

    def __init__(self, sampled: tuple[int, ...]) -> None:
        self._sampled = sampled
        self._grids: list[Float32[np.ndarray, "size size"]] = []

    def add(self, frame: int, image_rgb: UInt8[np.ndarray, "rows columns 3"]) -> None:
        """See a frame; one that stands for several sampled ones, or for one that does not decode, counts for them."""
        while len(self._grids) < len(self._sampled) and self._sampled[len(self._grids)] <= frame:
            grey = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
            self._grids.append(cv2.resize(grey, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA))

    def bits(self) -> Bool[np.ndarray, " bits"] | None:
        """Where and when the picture is brighter, and where darker, than on average; None if too little moves."""
        if len(self._grids) < len(self._sampled):
            return None
        grids = np.stack(self._grids)
        grids -= grids.mean(axis=(1, 2), keepdims=True)  # light that changes as a whole is no movement
        change = grids - grids.mean(axis=0)
        typical = float(np.sqrt(np.mean(change**2)))
        moved = np.stack([change > _MOVED * typical, change < -_MOVED * typical]).ravel()
        return moved if typical >= _LEAST_LEVELS and moved.sum() >= _FEWEST_CELLS else None

    def text(self) -> str:
        """The fingerprint in hexadecimal; empty if too little moves."""
        bits = self.bits()
        return "" if bits is None else np.packbits(bits).tobytes().hex()
