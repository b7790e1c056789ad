"""What a mask method is: a function of one view's frames, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8


@dataclass(frozen=True, kw_only=True, eq=False)
class PersonMask:
    """The pixels of one person, how sure the method is of them (0 to 1), and who else may be in the picture."""

    mask: Bool[np.ndarray, "height width"]
    score: float
    others: float = 0.0
    """Area of further parts of the frame that look like people (or move like them, where the method knows no
    people), as a share of the person's; 0 where the method cannot know."""
    provenance: str = ""
    """How the method came to it, where it has several ways."""


@runtime_checkable
class ViewMasker(Protocol):
    """Masks the person in the undistorted frames of one view, given in order; it may remember earlier frames.

    Returns None where it finds nobody. The same frames give the same masks, on any machine and in any process.
    """

    def __call__(self, image_rgb: UInt8[np.ndarray, "height width 3"], frame: int) -> PersonMask | None:
        """Mask frame number ``frame`` (counted from 0 in the source video)."""
        ...
