"""A person before a backdrop of one strong colour: everything that has not that colour."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mas_ray.ingest.masks.method import PersonMask
from mas_ray.ingest.masks.person import one_person, others_share
from mas_ray.ingest.rejects import BadTakeError

_BORDER = 0.05  # of the shorter side: the frame's rim, where the backdrop shows at the top and the sides
_WEAKEST_KEY = 20.0  # chroma in Lab below which a colour is no key
_RADIUS = 22.0  # distance in the a-b plane within which a pixel is of the backdrop
_DARKEST = 40  # brightest channel of a pixel that still has a colour
_SMALLEST_SHARE = 0.6  # of the rim that must be of the key colour

Image = UInt8[np.ndarray, "height width 3"]


def find_key_rgb(frames_rgb: Sequence[Image]) -> tuple[int, int, int]:
    """The colour of the frames' top and side rims.

    Raises:
        BadTakeError: The rims have no common strong colour (``no_key_colour``).
    """
    rims = np.concatenate([frame[_rim(frame.shape[0], frame.shape[1])] for frame in frames_rgb])
    chroma = _chroma(rims[None])[0]
    middle = np.median(chroma, axis=0)
    near = np.linalg.norm(chroma - middle, axis=1) < _RADIUS
    strength = float(np.linalg.norm(middle))
    if strength < _WEAKEST_KEY or near.mean() < _SMALLEST_SHARE:
        raise BadTakeError(
            "no_key_colour",
            f"{near.mean():.0%} of the frames' rims have one colour, of chroma {strength:.0f}; "
            f"expected {_SMALLEST_SHARE:.0%} and {_WEAKEST_KEY:.0f}",
        )
    red, green, blue = np.median(rims[near], axis=0).astype(int).tolist()
    return red, green, blue


class ChromaKeyMasker:
    """Masks what is not of the key colour, whatever its lightness: folds and shadows in the cloth go with it."""

    def __init__(self, key_rgb: tuple[int, int, int]) -> None:
        self._key = _chroma(np.array([[key_rgb]], np.uint8))[0, 0]
        self._previous: Bool[np.ndarray, "height width"] | None = None

    def __call__(self, image_rgb: Image, frame: int) -> PersonMask | None:
        """Mask a frame; None if all of it is of the key colour."""
        distance = np.linalg.norm(_chroma(image_rgb) - self._key, axis=-1)
        evidence = cv2.GaussianBlur(np.clip(distance / (2 * _RADIUS), 0.0, 1.0).astype(np.float32), (0, 0), 1.0)
        foreground = evidence > 0.5
        mask = one_person(foreground, self._previous)
        self._previous = mask
        if mask is None:
            return None
        return PersonMask(mask=mask, score=float(evidence[mask].mean()), others=others_share(foreground, mask))


def _rim(height: int, width: int) -> Bool[np.ndarray, "height width"]:
    thick = max(1, round(_BORDER * min(height, width)))
    rim = np.ones((height, width), bool)
    rim[thick:, thick:-thick] = False
    return rim


def _chroma(image_rgb: Image) -> Float32[np.ndarray, "height width 2"]:
    """The a-b plane of Lab after the light is made equal: a shadow on the backdrop has its chroma, black has none."""
    image = image_rgb.astype(np.float32)
    image /= np.maximum(image.max(axis=-1, keepdims=True), np.float32(_DARKEST))
    return cv2.cvtColor(image, cv2.COLOR_RGB2Lab)[..., 1:].astype(np.float32)
