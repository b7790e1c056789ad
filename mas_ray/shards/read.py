"""Reading Parquet files of frame sets, a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mas_ray.shards.manifest import Manifest, SplitName
from mas_ray.shards.schema import check_schema


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of one file in order, as Python objects; columns as in ``schema.FRAME_SET``.

    Raises:
        ValueError: The file is not Parquet or holds no frame sets of this schema version; the message names it.
    """
    try:
        with pq.ParquetFile(path) as file:
            check_schema(file.schema_arrow, str(path))
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group).to_pylist()
    except (pa.ArrowInvalid, FileNotFoundError) as error:
        raise ValueError(f"{path}: not a readable shard: {error}") from None


def read_dataset(folder: Path, manifest: Manifest) -> Iterator[dict[str, Any]]:
    """All rows of the dataset in ``folder``, in the order of takes and instants."""
    for shard in manifest.shards:
        yield from read_rows(folder / shard.path)


def read_take(folder: Path, manifest: Manifest, take_id: str) -> Iterator[dict[str, Any]]:
    """The rows of one take in the order of its instants, from the dataset in ``folder``."""
    for shard in manifest.shards:
        if take_id in shard.takes:
            yield from (row for row in read_rows(folder / shard.path) if row["take_id"] == take_id)


def count_rows(folder: Path, manifest: Manifest, split: SplitName) -> int:
    """How many frame sets a split has; reads no pictures."""
    ranges = {item.take_id: item for item in manifest.splits.ranges(split)}
    count = 0
    for shard in manifest.shards:
        table = pq.read_table(folder / shard.path, columns=["take_id", "instant"])
        for take_id, instant in zip(table["take_id"].to_pylist(), table["instant"].to_pylist(), strict=True):
            count += take_id in ranges and ranges[take_id].start <= instant < ranges[take_id].stop
    return count


def read_split(folder: Path, manifest: Manifest, split: SplitName) -> Iterator[dict[str, Any]]:
    """The rows of a split in the order of takes and instants, from the dataset in ``folder``."""
    ranges = {item.take_id: item for item in manifest.splits.ranges(split)}
    for shard in manifest.shards:
        if ranges.keys().isdisjoint(shard.takes):
            continue
        for row in read_rows(folder / shard.path):
            chosen = ranges.get(row["take_id"])
            if chosen and chosen.start <= row["instant"] < chosen.stop:
                yield row
