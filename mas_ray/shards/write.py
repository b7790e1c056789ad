"""Writing Parquet files of frame sets: streamed, whole or not at all, byte-identical for equal rows."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
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
    stream = iter(rows)
    groups = iter(lambda: list(itertools.islice(stream, ROWS_PER_GROUP)), [])
    return _write_groups(path, (pa.Table.from_pylist(group, schema=FRAME_SET) for group in groups))


def write_tables(path: Path, tables: Iterable[pa.Table]) -> int:
    """``write_rows`` of rows that are tables already, of any length: equal rows give equal bytes either way."""
    return _write_groups(path, _regroup(tables))


def _regroup(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of a row group each."""
    waiting = FRAME_SET.empty_table()
    for table in tables:
        waiting = pa.concat_tables([waiting, table])
        while waiting.num_rows >= ROWS_PER_GROUP:
            yield waiting.slice(0, ROWS_PER_GROUP).combine_chunks()
            waiting = waiting.slice(ROWS_PER_GROUP)
    if waiting.num_rows:
        yield waiting.combine_chunks()


def _write_groups(path: Path, groups: Iterable[pa.Table]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    num_rows = 0
    try:
        with pq.ParquetWriter(partial, FRAME_SET, **_OPTIONS) as writer:
            for group in groups:
                writer.write_table(group, row_group_size=ROWS_PER_GROUP)
                num_rows += group.num_rows
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
