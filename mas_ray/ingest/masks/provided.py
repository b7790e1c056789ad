"""Masks that lie beside the videos."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, UInt8

from mas_ray.ingest.masks.method import PersonMask

Mask = Bool[np.ndarray, "height width"]


class ProvidedMasker:
    """Looks each frame's mask up. It is taken as it is: whoever provides masks has chosen the person."""

    def __init__(self, provided: Callable[[int], Mask | None]) -> None:
        self._provided = provided

    def __call__(self, image_rgb: UInt8[np.ndarray, "height width 3"], frame: int) -> PersonMask | None:
        """The mask of a frame; None if there is none or it is empty."""
        mask = self._provided(frame)
        return None if mask is None or not mask.any() else PersonMask(mask=mask, score=1.0)
