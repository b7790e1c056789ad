"""Whether a mask agrees with those before and after it: a mask that jumps away and back has lost the person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from mas_ray.config.ingest import CurationConfig
from mas_ray.ingest.masks.person import box

T = TypeVar("T")

_SHAPE_SIZE = 64
_CANVAS_SIZE = 192


@dataclass(frozen=True, eq=False)
class MaskShape:
    """A mask cut to its box and scaled down: what stability needs of it, in a few kilobytes.

    Attributes:
        coverage: How much of each cell the mask covers; at most 64 cells along the longer side.
        px_per_cell: Source pixels per cell.
    """

    coverage: Float32[np.ndarray, "rows columns"]
    px_per_cell: float

    @classmethod
    def of(cls, mask: Bool[np.ndarray, "height width"]) -> MaskShape:
        """The shape of a mask that is not empty."""
        left, top, right, bottom = box(mask)
        inside = mask[top : bottom + 1, left : right + 1].astype(np.float32)
        px_per_cell = max(1.0, max(inside.shape) / _SHAPE_SIZE)
        size = tuple(max(1, round(side / px_per_cell)) for side in inside.shape[::-1])
        return cls(coverage=cv2.resize(inside, size, interpolation=cv2.INTER_AREA), px_per_cell=px_per_cell)


@dataclass(frozen=True, kw_only=True)
class Judged(Generic[T]):
    """An item with what its mask's stability is: overlap with the better of its neighbours, None without any."""

    item: T
    overlap: float | None
    is_stable: bool


def overlap(a: MaskShape, b: MaskShape) -> float:
    """IoU of two shapes laid on one another by their centroids, at equal scale."""
    px_per_cell = max(a.px_per_cell, b.px_per_cell)
    one, other = _laid_out(a, px_per_cell), _laid_out(b, px_per_cell)
    union = float(np.maximum(one, other).sum())
    return float(np.minimum(one, other).sum()) / union if union > 0 else 0.0


def judge_stability(items: Iterable[tuple[T, MaskShape | None]], config: CurationConfig) -> Iterator[Judged[T]]:
    """Judge the masks of one shot by their neighbours. Runs one mask ahead of what it gives.

    A mask is unstable if it is unlike the mask before *and* the mask after: of those, it may be the neighbour that
    is wrong. At the ends of a shot, one neighbour decides.

    Args:
        items: The shot's frames in order, each with the shape of its mask. Frames without one (None) are passed on as
            stable, and are nobody's neighbour.
        config: The thresholds.
    """
    waiting: list[tuple[T, MaskShape | None]] = []  # the mask in question and what came after it without one
    before: MaskShape | None = None
    for item, shape in items:
        if shape is not None and waiting:
            current = waiting[0][1]
            yield from _judged(waiting, before, shape, config)
            waiting, before = [], current
        if shape is None and not waiting:
            yield Judged(item=item, overlap=None, is_stable=True)
        else:
            waiting.append((item, shape))
    yield from _judged(waiting, before, None, config)


def _judged(
    waiting: list[tuple[T, MaskShape | None]],
    before: MaskShape | None,
    after: MaskShape | None,
    config: CurationConfig,
) -> Iterator[Judged[T]]:
    for item, shape in waiting:
        if shape is None:
            yield Judged(item=item, overlap=None, is_stable=True)
            continue
        neighbours = [neighbour for neighbour in (before, after) if neighbour is not None]
        best = max((overlap(shape, neighbour) for neighbour in neighbours), default=None)
        needed = config.min_stability
        if before is not None and after is not None:
            needed = max(needed, config.min_stability_over_neighbours * overlap(before, after))
        yield Judged(item=item, overlap=best, is_stable=best is None or best >= needed)


def _laid_out(shape: MaskShape, px_per_cell: float) -> Float32[np.ndarray, "size size"]:
    """The shape on a common canvas, its centroid in the middle."""
    scale = shape.px_per_cell / px_per_cell
    total = float(shape.coverage.sum())
    column, row = (
        float((shape.coverage.sum(axis=axis) * np.arange(shape.coverage.shape[1 - axis])).sum()) / total
        for axis in (0, 1)
    )
    middle = (_CANVAS_SIZE - 1) / 2
    affine = np.array([[scale, 0.0, middle - scale * column], [0.0, scale, middle - scale * row]])
    return cv2.warpAffine(shape.coverage, affine, (_CANVAS_SIZE, _CANVAS_SIZE), flags=cv2.INTER_LINEAR)
