"""The single-person rule that all mask methods share: one body, without specks and pinholes."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Int64

_LARGEST_PINHOLE = 0.004  # share of the body's area; a larger hole is between an arm and the trunk
_SMALLEST_PART = 0.02  # share of the body's area; a smaller detached part is a speck
_SMALLEST_OTHER = 0.15  # share of the body's area; less is a limb, a shadow, or somebody far away


def one_person(
    mask: Bool[np.ndarray, "height width"], previous: Bool[np.ndarray, "height width"] | None = None
) -> Bool[np.ndarray, "height width"] | None:
    """The component that overlaps ``previous`` most (the largest without one), pinholes filled; None if empty.

    Smaller components that touch the chosen one's box when grown a little are kept if they are no specks: an arm
    that a thin gap cuts off still belongs to its body.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        return None
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.int64)
    scores = areas if previous is None else _overlaps(labels, previous, count)
    scores[0] = -1
    body = int(np.argmax(scores if scores.max() > 0 else np.where(np.arange(count) == 0, -1, areas)))
    reach = max(3, round(0.03 * float(np.sqrt(areas[body]))))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    near = cv2.dilate((labels == body).astype(np.uint8), kernel).astype(bool)
    touched = np.unique(labels[near])
    parts = [part for part in touched.tolist() if part and areas[part] >= _SMALLEST_PART * areas[body]]
    return _fill_pinholes(np.isin(labels, parts))


def others_share(candidates: Bool[np.ndarray, "rows columns"], person: Bool[np.ndarray, "rows columns"]) -> float:
    """Area of the candidates that are somebody else, as a share of the person's area.

    Left out are components that touch the person (a limb that the mask lacks) and those too small to be somebody.
    """
    area = int(person.sum())
    if not area:
        return 0.0
    count, labels, stats, _ = cv2.connectedComponentsWithStats(candidates.astype(np.uint8), connectivity=8)
    own = np.bincount(labels[person], minlength=count) > 0
    areas = np.where(own, 0, stats[:, cv2.CC_STAT_AREA].astype(np.int64))
    areas[0] = 0
    return float(areas[areas >= _SMALLEST_OTHER * area].sum() / area)


def box(mask: Bool[np.ndarray, "height width"]) -> tuple[int, int, int, int]:
    """First and last column, first and last row of a mask that is not empty, as (left, top, right, bottom)."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def _overlaps(
    labels: np.ndarray, previous: Bool[np.ndarray, "height width"], count: int
) -> Int64[np.ndarray, " components"]:
    return np.bincount(labels[previous], minlength=count).astype(np.int64)


def _fill_pinholes(mask: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    largest = _LARGEST_PINHOLE * float(mask.sum())
    small = [part for part in range(1, count) if stats[part, cv2.CC_STAT_AREA] <= largest]
    return mask | np.isin(labels, small)
