"""Reading Parquet files of frame sets, a row group at a time."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mas_ray.shards.location import Location, open_parquet
from mas_ray.shards.manifest import Manifest, SplitName
from mas_ray.shards.schema import check_schema


def read_rows(path: Location) -> Iterator[dict[str, Any]]:
    """The rows of one file in order, as Python objects; columns as in ``schema.FRAME_SET``.

    Raises:
        ValueError: The file is not Parquet or holds no frame sets of this schema version; the message names it.
    """
    for table in read_tables(path):
        yield from table.to_pylist()


def read_tables(path: Location, start: int = 0, stop: int | None = None) -> Iterator[pa.Table]:
    """The rows ``start <= row < stop`` of one file in order, a row group at a time; raises like ``read_rows``."""
    with _open(path) as file:
        first = 0
        for group in range(file.num_row_groups):
            num_rows = file.metadata.row_group(group).num_rows
            if start < first + num_rows and (stop is None or first < stop):
                yield from cut_tables([file.read_row_group(group)], start - first, stop and stop - first)
            first += num_rows


def cut_tables(tables: Iterable[pa.Table], start: int, stop: int | None = None) -> Iterator[pa.Table]:
    """The rows ``start <= row < stop`` of tables that follow each other; begins to count at 0."""
    first = 0
    for table in tables:
        begin = max(start - first, 0)
        end = table.num_rows if stop is None else min(stop - first, table.num_rows)
        if begin < end:
            yield table.slice(begin, end - begin)
        first += table.num_rows


def read_dataset(folder: Location, manifest: Manifest) -> Iterator[dict[str, Any]]:
    """All rows of the dataset in ``folder``, in its order: takes as their shards have them, instants as time goes."""
    for shard in manifest.shards:
        yield from read_rows(folder / shard.path)


def read_take(folder: Location, manifest: Manifest, take_id: str) -> Iterator[dict[str, Any]]:
    """The rows of one take in the order of its instants, from the dataset in ``folder``."""
    for table in read_take_tables(folder, manifest, take_id):
        yield from table.to_pylist()


def read_take_tables(folder: Location, manifest: Manifest, take_id: str) -> Iterator[pa.Table]:
    """``read_take``, a row group at a time; reads little but the take's rows."""
    for shard in manifest.shards:
        if take_id in shard.takes:
            for table in _groups_of_takes(folder / shard.path, (take_id,)):
                yield table.filter(pc.field("take_id") == take_id)


def count_rows(folder: Location, manifest: Manifest, split: SplitName) -> int:
    """How many frame sets a split has; reads no pictures."""
    ranges = {item.take_id: item for item in manifest.splits.ranges(split)}
    count = 0
    for shard in manifest.shards:
        with _open(folder / shard.path) as file:
            table = file.read(columns=["take_id", "instant"])
        for take_id, instant in zip(table["take_id"].to_pylist(), table["instant"].to_pylist(), strict=True):
            count += take_id in ranges and ranges[take_id].start <= instant < ranges[take_id].stop
    return count


def read_split(
    folder: Location, manifest: Manifest, split: SplitName, *, take_id: str | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of a split, or of one take of it, in the dataset's order, from the dataset in ``folder``."""
    ranges = {item.take_id: item for item in manifest.splits.ranges(split) if take_id in (None, item.take_id)}
    for shard in manifest.shards:
        wanted = [take_id for take_id in shard.takes if take_id in ranges]
        for table in _groups_of_takes(folder / shard.path, wanted) if wanted else ():
            for row in table.to_pylist():
                chosen = ranges.get(row["take_id"])
                if chosen and chosen.start <= row["instant"] < chosen.stop:
                    yield row


def measure_rows(path: Location) -> tuple[int, float]:
    """Of the rows of one take: views of all instants, and the seconds of source time covered. Reads no pictures.

    Gaps do not count: the time is the number of instants times the median step from one to the next.
    """
    num_views, timestamps_s = 0, list[float]()
    with _open(path) as file:
        for batch in file.iter_batches(columns=["timestamp_s", "views.list.element.mask_score"]):
            num_views += len(batch["views"].flatten())
            timestamps_s += batch["timestamp_s"].to_pylist()
    steps_s = [later - earlier for earlier, later in itertools.pairwise(timestamps_s)]
    return num_views, len(timestamps_s) * statistics.median(steps_s) if steps_s else 0.0


@contextmanager
def _open(path: Location) -> Generator[pq.ParquetFile, None, None]:
    try:
        with open_parquet(path) as file:
            check_schema(file.schema_arrow, str(path))
            yield file
    except (pa.ArrowInvalid, FileNotFoundError) as error:
        raise ValueError(f"{path}: not a readable shard: {error}") from None


def _groups_of_takes(path: Location, take_ids: Collection[str]) -> Iterator[pa.Table]:
    """The row groups that may hold rows of these takes, by the extrema of their ids."""
    with _open(path) as file:
        for group in range(file.num_row_groups):
            extrema = file.metadata.row_group(group).column(0).statistics
            if (
                extrema is None
                or not extrema.has_min_max
                or any(extrema.min <= take_id <= extrema.max for take_id in take_ids)
            ):
                yield file.read_row_group(group)
