"""A split of a dataset in memory, read as batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from mas_ray.batch import Batch, collate
from mas_ray.config.cascade import CascadeConfig
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

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, rows: Int64[np.ndarray, " batch"]) -> Batch:
        """The frame sets of these row numbers."""
        return collate([self._rows[row] for row in rows.tolist()], self._view_slots, self._cascade)


def open_split(folder: Path, manifest: Manifest, split: SplitName, cascade: CascadeConfig) -> FrameSets:
    """The frame sets of a split; ``ValueError`` if there are none."""
    rows = list(read_split(folder, manifest, split))
    if not rows:
        raise ValueError(f"{folder / 'manifest.json'}: the {split} split has no frame sets")
    return FrameSets(rows, manifest.view_slots, cascade)
