"""Writing Parquet files of frame sets: streamed, whole or not at all, byte-identical for equal rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mas_ray.shards.location import Location, publishing
from mas_ray.shards.schema import FRAME_SET

ROWS_PER_GROUP = 32
# Columns hold compressed bytes already; neither dictionaries nor extrema of them are of any use.
_OPTIONS: dict[str, Any] = {
    "compression": "none",
    "use_dictionary": ["take_id"],
    "write_statistics": ["take_id", "instant"],
}


def write_rows(path: Location, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows of the frame set schema and return their number; at most one row group is held.

    The file appears under its name only when it is complete and on disk.
    """
    stream = iter(rows)
    groups = iter(lambda: list(itertools.islice(stream, ROWS_PER_GROUP)), [])
    return _write_groups(path, (pa.Table.from_pylist(group, schema=FRAME_SET) for group in groups))


def write_tables(path: Location, tables: Iterable[pa.Table]) -> int:
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


def _write_groups(path: Location, groups: Iterable[pa.Table]) -> int:
    num_rows = 0
    with publishing(path) as partial, pq.ParquetWriter(partial, FRAME_SET, **_OPTIONS) as writer:
        for group in groups:
            writer.write_table(group, row_group_size=ROWS_PER_GROUP)
            num_rows += group.num_rows
    return num_rows


def write_text(path: Location, text: str) -> None:
    """Write a small file, whole or not at all, and wait until it is where it belongs."""
    with publishing(path) as partial:
        partial.write_text(text, encoding="utf-8")
