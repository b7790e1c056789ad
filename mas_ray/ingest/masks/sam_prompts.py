"""Prompts for Segment Anything, made of a mask: a box, points deep inside it, points clearly outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from mas_ray.ingest.masks.person import box

_BOX_MARGIN = 0.05
_NEGATIVE_DISTANCE = 0.15  # of the box's longer side: how far outside the mask a negative point must lie

Image = UInt8[np.ndarray, "height width 3"]
Images = Sequence[UInt8[np.ndarray, "_ _ 3"]]
Mask = Bool[np.ndarray, "height width"]
Logits = Float32[np.ndarray, "low low"]
Motion = tuple[float, float]
"""Pixels to the right and down."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompts:
    """What a frame is asked for, in pixels of the frame.

    Attributes:
        box: (left, top, right, bottom).
        points: (x, y) each.
        labels: 1 for a point inside the person, 0 outside.
        logits: A mask, as the network gave it: on its own low-resolution grid, which covers the padded square frame.
    """

    box: Float[np.ndarray, " 4"]
    points: Float[np.ndarray, "points 2"]
    labels: UInt8[np.ndarray, " points"]
    logits: Logits | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """What the network answers to one prompt.

    Attributes:
        masks: At the frame's resolution.
        scores: The IoU that it predicts of each.
        logits: Each on the low-resolution grid, fit to be a prompt.
    """

    masks: Bool[np.ndarray, "candidates height width"]
    scores: Float32[np.ndarray, " candidates"]
    logits: Float32[np.ndarray, "candidates low low"]


@runtime_checkable
class EncodedImage(Protocol):
    """A frame that has been through the image encoder. Any number of prompts share that pass."""

    def decode(self, prompts: Prompts) -> Candidates:
        """Answer one prompt."""
        ...


@runtime_checkable
class PromptableModel(Protocol):
    """Segment Anything, wherever it runs."""

    @property
    def batch_size(self) -> int:
        """How many frames it likes to encode at once."""
        ...

    def encode(self, images_rgb: Images) -> Sequence[EncodedImage]:
        """Run the image encoder once per frame; frames may differ in size."""
        ...


def prompts_from_mask(
    mask: Mask,
    *,
    num_positive: int,
    num_negative: int,
    motion_px: Motion = (0.0, 0.0),
    logits: Logits | None = None,
) -> Prompts:
    """Prompts that a person would give: deep inside the body, well apart, and on the ground beside it.

    Args:
        mask: Where the person is thought to be; not empty.
        num_positive: At most this many points inside.
        num_negative: At most this many points outside.
        motion_px: How far the person moves between frames; the box grows by it on every side.
        logits: Taken into the prompts as they are.
    """
    left, top, right, bottom = corners_px = box(mask)
    side = max(right - left, bottom - top) + 1
    height, width = mask.shape
    margin_x, margin_y = (_BOX_MARGIN * side + abs(step) for step in motion_px)
    corners = np.array(corners_px, dtype=np.float64) + np.array([-margin_x, -margin_y, margin_x, margin_y])
    limits = np.array([width - 1, height - 1, width - 1, height - 1], dtype=np.float64)
    # Points lie in the mask or beside it, so nothing further off is looked at.
    first_row, first_column = max(0, top - 1), max(0, round(left - side / 2))
    near = mask[first_row : bottom + 2, first_column : round(right + side / 2)].astype(np.uint8)
    inside = cv2.distanceTransform(near, cv2.DIST_L2, 5)
    outside = cv2.distanceTransform(1 - near, cv2.DIST_L2, 5)
    beside = np.where(outside >= _NEGATIVE_DISTANCE * side, outside, 0.0)
    positive = _spread_points(inside, num_positive, apart=side / 4)
    negative = _spread_points(beside, num_negative, apart=side / 2)
    return Prompts(
        box=np.clip(corners, 0.0, limits),
        points=np.concatenate([positive, negative]) + np.array([first_column, first_row], dtype=np.float64),
        labels=np.array([1] * len(positive) + [0] * len(negative), np.uint8),
        logits=logits,
    )


def moved_mask(mask: Mask, motion_px: Motion) -> Mask:
    """The mask some whole pixels further; what leaves the picture is gone."""
    shift = np.array([[1.0, 0.0, round(motion_px[0])], [0.0, 1.0, round(motion_px[1])]])
    size = mask.shape[1], mask.shape[0]
    return cv2.warpAffine(mask.astype(np.uint8), shift, size, flags=cv2.INTER_NEAREST).astype(bool)


def moved_logits(logits: Logits, motion_px: Motion, *, frame_shape: tuple[int, ...]) -> Logits:
    """The same of a low-resolution mask; border values are repeated. ``frame_shape``: the frame's (height, width)."""
    size = logits.shape[0]
    scale = size / max(frame_shape)
    shift = np.array([[1.0, 0.0, scale * motion_px[0]], [0.0, 1.0, scale * motion_px[1]]])
    moved = cv2.warpAffine(logits, shift, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return moved.astype(np.float32, copy=False)


def _spread_points(depth: np.ndarray, num: int, *, apart: float) -> Float[np.ndarray, "points 2"]:
    """Up to ``num`` positions (x, y) of largest depth, each at least ``apart`` from the others."""
    depth = depth.astype(np.float32).copy()
    points: list[tuple[float, float]] = []
    for _ in range(num):
        row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
        if depth[row, column] <= 0:
            break
        points.append((float(column), float(row)))
        cv2.circle(depth, (int(column), int(row)), max(1, round(apart)), 0.0, -1)
    return np.array(points, dtype=np.float64).reshape(-1, 2)
