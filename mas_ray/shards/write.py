"""Writing Parquet files of frame sets: streamed, whole or not at all, byte-identical for equal rows."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mas_ray.shards.schema import FRAME_SET

ROWS_PER_GROUP = 32
# Columns hold compressed bytes already; neither dictionaries nor extrema of them are of any use.
_OPTIONS: dict[str, Any] = {
    "compression": "none",
    "use_dictionary": ["take_id"],
    "write_statistics": ["take_id", "instant"],
}


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows of the frame set schema and return their number; at most one row group is held.

    The file appears under its name only when it is complete and on disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    num_rows = 0
    stream = iter(rows)
    try:
        with pq.ParquetWriter(partial, FRAME_SET, **_OPTIONS) as writer:
            while group := list(itertools.islice(stream, ROWS_PER_GROUP)):
                writer.write_table(pa.Table.from_pylist(group, schema=FRAME_SET), row_group_size=ROWS_PER_GROUP)
                num_rows += len(group)
        publish(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return num_rows


def write_text(path: Path, text: str) -> None:
    """Write a small file, whole or not at all, and wait until it is on disk."""
    partial = partial_path(path)
    partial.write_text(text, encoding="utf-8")
    publish(partial, path)


def partial_path(path: Path) -> Path:
    """The temporary name of a file in the making; no two processes share one."""
    return path.with_name(f"{path.name}.partial-{os.getpid()}")


def publish(partial: Path, path: Path) -> None:
    """Give a complete file its name once its bytes are on disk."""
    _sync(partial)
    partial.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
