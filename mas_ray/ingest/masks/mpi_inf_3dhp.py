"""MPI-INF-3DHP's own masks: what is not green screen (``FGmasks``) without the chair (``ChairMasks``).

Both are colour videos whose red channel counts; green and blue, where they are not empty, show clothes. Nothing says
whether white is the person or the background, so the border of the picture does: most of it is background.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from mas_ray.ingest.masks.person import box, one_person
from mas_ray.ingest.rejects import BadTakeError

Mask = Bool[np.ndarray, "height width"]
Image = UInt8[np.ndarray, "height width 3"]
Stream = Callable[[Sequence[int]], Iterator[tuple[int, Image | None]]]
"""Gives the frames of increasing numbers of a mask video; each call begins anew."""

_NUM_BORDERS = 9


def read_studio_masks(
    foreground: Stream, chair: Stream, frames: Sequence[int]
) -> Iterator[tuple[int, UInt8[np.ndarray, "height width"] | None]]:
    """The person of each wanted frame, 0 or 255; None where either mask is missing or nobody is there.

    Raises:
        BadTakeError: The two masks of a frame have different sizes, or none of the first does decode
            (``unreadable_masks``).
    """
    foreground_level = background_is_bright(image for _, image in foreground(frames[:_NUM_BORDERS]))
    chair_level = background_is_bright(image for _, image in chair(frames[:_NUM_BORDERS]))
    for (frame, of_foreground), (_, of_chair) in zip(foreground(frames), chair(frames), strict=True):
        if of_foreground is None or of_chair is None:
            yield frame, None
            continue
        if of_foreground.shape != of_chair.shape:
            raise BadTakeError("unreadable_masks", f"frame {frame}: the mask and the chair's mask differ in size")
        person = studio_person(_marked(of_foreground) ^ foreground_level, _marked(of_chair) ^ chair_level)
        yield frame, None if person is None else np.where(person, 255, 0).astype(np.uint8)


def background_is_bright(images: Iterable[Image | None]) -> bool:
    """Whether most of the pictures' border is marked: then what is not marked is what the masks are of.

    Raises:
        BadTakeError: None of the pictures decodes (``unreadable_masks``).
    """
    borders = [_border(_marked(image)) for image in images if image is not None]
    if not borders:
        raise BadTakeError("unreadable_masks", "none of the first masks decodes")
    return bool(np.concatenate(borders).mean() > 0.5)


def studio_person(foreground: Mask, chair: Mask) -> Mask | None:
    """The one person in front of the green screen; None if there is none.

    A chair may stand between the person's parts. So parts that only the chair holds together with the body are the
    person's, too, and what stands apart from both is not.
    """
    if not foreground.any():
        return None
    left, top, right, bottom = box(foreground)
    window = slice(top, bottom + 1), slice(left, right + 1)
    # Background all around, as in the whole picture: a corner between an arm and the window is no pinhole.
    found = _person(np.pad(foreground[window], 1), np.pad(chair[window], 1))
    if found is None:
        return None
    person = np.zeros_like(foreground)
    person[window] = found[1:-1, 1:-1]
    return person


def _person(foreground: Mask, chair: Mask) -> Mask | None:
    candidates = foreground & ~chair
    body = one_person(candidates)
    if body is None:
        return None
    count, labels = cv2.connectedComponents((foreground | body).astype(np.uint8), connectivity=8)
    with_body = np.bincount(labels[body], minlength=count) > 0
    with_body[0] = False
    return body | (candidates & np.asarray(with_body[np.asarray(labels, np.int64)]))


def _marked(image: Image) -> Mask:
    return image[..., 0] >= 128


def _border(mask: Mask) -> Bool[np.ndarray, " pixels"]:
    return np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
