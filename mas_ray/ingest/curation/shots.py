"""Hard cuts of a clip: where neither side of a boundary looks like the other.

Two frames differ as much as both their colours and their structure do. A flash changes colours alone, a fast
movement structure alone; a fade changes both, but never from one frame to the next; and after a flash the picture is
what it was before. So a cut is a boundary where *every* frame of a short window before it differs from *every* frame
of one after it, by much more than neighbours differ around it.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from mas_ray.config.ingest import CurationConfig

SmallFrame = UInt8[np.ndarray, "rows columns 3"]

_WINDOW = 4
"""Frames on each side of a boundary that are compared: a flash of up to three frames ends no shot."""
_LEVEL_REACH = 12
"""Frames on each side that tell how much neighbours differ around a boundary."""
_COLOUR_BINS = (8, 4, 8)  # hue, saturation, value
_STRUCTURE_SIZE = 32
_SHIFT = 4  # structure cells that a pan may move the picture by before it counts as another one


class ShotFinder:
    """Takes a clip's small frames in order and tells its shots. Holds a few frames and two numbers per frame."""

    def __init__(self, config: CurationConfig) -> None:
        self._config = config
        self._frames: deque[tuple[int, _Look]] = deque(maxlen=2 * _WINDOW)
        self._numbers = array("q")
        self._steps = array("f")  # how much frame i differs from frame i - 1
        self._across = array("f")  # the smallest difference of any pair over the boundary before frame i

    def add(self, frame: int, image: SmallFrame) -> None:
        """See the next frame; numbers may have holes."""
        look = _Look.of(image)
        step = _difference(self._frames[-1][1], look) if self._frames else 0.0
        self._numbers.append(frame)
        self._steps.append(step)
        self._across.append(step)
        self._frames.append((len(self._numbers) - 1, look))
        self._compare(_WINDOW)

    def shots(self) -> list[range]:
        """The shots as ranges of frame numbers, from the first frame seen to the last; call once all were seen."""
        if not self._numbers:
            return []
        for after in range(_WINDOW - 1, 0, -1):  # boundaries so near the end that their window was never full
            self._compare(after)
        steps = np.frombuffer(self._steps, np.float32)
        cuts = [i for i in range(1, len(steps)) if self._is_cut(steps, i)]
        starts = [self._numbers[i] for i in (0, *cuts)]
        return [range(a, b) for a, b in pairwise([*starts, self._numbers[-1] + 1])]

    def _compare(self, after: int) -> None:
        """Look across the boundary that has ``after`` of the latest frames behind it."""
        held = list(self._frames)
        if len(held) <= after:
            return
        boundary = held[-after][0]
        if self._across[boundary] < self._config.min_cut_difference:
            return
        before = [look for _, look in held[:-after][-_WINDOW:]]
        self._across[boundary] = min(_difference(a, b) for a in before for _, b in held[-after:])

    def _is_cut(self, steps: Float32[np.ndarray, " frames"], i: int) -> bool:
        around = np.concatenate([steps[max(1, i - _LEVEL_REACH) : i], steps[i + 1 : i + 1 + _LEVEL_REACH]])
        level = float(np.median(around)) if around.size else 0.0
        return self._across[i] >= max(self._config.min_cut_difference, self._config.min_cut_over_motion * level)


@dataclass(frozen=True, eq=False)
class _Look:
    colours: Float32[np.ndarray, " bins"]
    structure: Float32[np.ndarray, "size size"]

    @classmethod
    def of(cls, image: SmallFrame) -> _Look:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        counts = cv2.calcHist([hsv], [0, 1, 2], None, list(_COLOUR_BINS), [0, 180, 0, 256, 0, 256])
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        structure = cv2.resize(grey, (_STRUCTURE_SIZE, _STRUCTURE_SIZE), interpolation=cv2.INTER_AREA)
        return cls(colours=counts.ravel() / counts.sum(), structure=structure.astype(np.float32))


def _difference(a: _Look, b: _Look) -> float:
    """0 for equal pictures to 1: the geometric mean of how much colours and structure differ.

    Never more than twice what the structure does: a light that is switched on changes every colour.
    """
    colour = 0.5 * float(np.abs(a.colours - b.colours).sum())
    structure = _structure_difference(a.structure, b.structure)
    return min(math.sqrt(colour * structure), 2 * structure)


def _structure_difference(a: Float32[np.ndarray, "size size"], b: Float32[np.ndarray, "size size"]) -> float:
    """1 minus the best correlation of one picture's middle with the other, over small shifts; 0 to 1."""
    middle = a[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT]
    if min(float(middle.std()), float(b.std())) < 1.0:  # a picture of one colour correlates with anything
        return min(1.0, abs(float(middle.std()) - float(b.std())) / 16)
    return min(1.0, 1.0 - float(cv2.matchTemplate(b, middle, cv2.TM_CCOEFF_NORMED).max()))
