"""A split of a dataset in memory, read as batches, with or without a teacher's joints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mas_ray.batch import Batch, collate
from mas_ray.config.cascade import CascadeConfig
from mas_ray.shards.location import Location
from mas_ray.shards.manifest import Manifest, SplitName
from mas_ray.shards.read import read_split


class FrameSets:
    """The encoded rows of one split; ``batch`` decodes some of them."""

    def __init__(
        self, rows: Sequence[Mapping[str, Any]], view_slots: Mapping[str, Sequence[str]], cascade: CascadeConfig
    ) -> None:
        self._rows = rows
        self._view_slots = view_slots
        self._cascade = cascade
        self._teacher_mm: Float[Tensor, "rows joints 3"] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, rows: Int64[np.ndarray, " batch"]) -> Batch:
        """The frame sets of these row numbers."""
        batch = collate([self._rows[row] for row in rows.tolist()], self._view_slots, self._cascade)
        return (
            batch if self._teacher_mm is None else replace(batch, teacher_mm=self._teacher_mm[torch.from_numpy(rows)])
        )

    def taught(self, teacher_mm: Float[Tensor, "rows joints 3"]) -> FrameSets:
        """The same frame sets with a teacher's joints, row by row.

        Raises:
            ValueError: There are not as many poses as rows.
        """
        if len(teacher_mm) != len(self):
            raise ValueError(f"teacher_mm: expected {len(self)} poses, one per frame set, got {len(teacher_mm)}")
        copy = FrameSets(self._rows, self._view_slots, self._cascade)
        copy._teacher_mm = teacher_mm
        return copy

    def decoded_for(self, cascade: CascadeConfig) -> FrameSets:
        """The same frame sets as another cascade wants them decoded, without a teacher's joints."""
        return FrameSets(self._rows, self._view_slots, cascade)

    def names(self, rows: Int64[np.ndarray, " rows"]) -> tuple[tuple[str, int], ...]:
        """Take and instant of these row numbers."""
        return tuple((self._rows[row]["take_id"], self._rows[row]["instant"]) for row in rows.tolist())

    def takes(self) -> tuple[Int64[np.ndarray, " rows"], ...]:
        """Row numbers of each uncut piece of a take, in the order of time."""
        rows: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        for row in sorted(range(len(self)), key=lambda row: self._rows[row]["instant"]):
            rows[self._rows[row]["take_id"], self._rows[row]["shot"]].append(row)
        return tuple(np.array(of_take, np.int64) for of_take in rows.values())


def open_split(folder: Location, manifest: Manifest, split: SplitName, cascade: CascadeConfig) -> FrameSets:
    """The frame sets of a split; ``ValueError`` if there are none."""
    rows = list(read_split(folder, manifest, split))
    if not rows:
        raise ValueError(f"{folder / 'manifest.json'}: the {split} split has no frame sets")
    return FrameSets(rows, manifest.view_slots, cascade)
