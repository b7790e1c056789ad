"""Smoothing of predicted poses over time, by Casiez' own implementation of the One-Euro filter."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from OneEuroFilter import OneEuroFilter

from mas_ray.config.predict import OneEuro

_LONGEST_GAP_S = 0.5
"""After more without a joint its filter begins anew: what was long ago says nothing of now."""
_FREQUENCY_HZ = 30.0
"""What the library wants beside timestamps; it decides nothing, for the first value passes as it is."""


def smoothed(rows: Iterable[Mapping[str, Any]], config: OneEuro) -> Iterator[dict[str, Any]]:
    """One take's rows (``reporting.poses``), in order, with joints and keypoints filtered; confidences stay.

    Every coordinate of every joint has a filter of its own; nothing that is nowhere becomes something.
    """
    filters: dict[tuple[str, ...], _Points] = {}

    def filtered(points: Any, time_s: float, *key: str) -> Any:
        if points is None:
            return None
        return filters.setdefault(key, _Points(config))(points, time_s)

    for row in rows:
        time_s = row["timestamp_s"]
        yield {
            **row,
            "joints_world_mm": filtered(row["joints_world_mm"], time_s, "world"),
            "views": [
                {
                    **view,
                    "keypoints_px": filtered(view["keypoints_px"], time_s, view["name"], "px"),
                    "joints_camera_mm": filtered(view["joints_camera_mm"], time_s, view["name"], "mm"),
                }
                for view in row["views"]
            ],
        }


class _Points:
    """The filters of some points."""

    def __init__(self, config: OneEuro) -> None:
        self._new: Callable[[], OneEuroFilter] = lambda: OneEuroFilter(
            _FREQUENCY_HZ, mincutoff=config.min_cutoff_hz, beta=config.beta
        )
        self._filters: list[list[OneEuroFilter]] = []
        self._last_s = -math.inf

    def __call__(self, points: Sequence[Sequence[float]], time_s: float) -> list[list[float]]:
        if time_s - self._last_s > _LONGEST_GAP_S:
            self._filters = [[self._new() for _ in point] for point in points]
        self._last_s = time_s
        return [
            [value if math.isnan(value) else each(value, time_s) for each, value in zip(filters, point, strict=True)]
            for filters, point in zip(self._filters, points, strict=True)
        ]
