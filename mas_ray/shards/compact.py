"""From the rows of takes to shards: a layout that depends on the numbers of rows alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mas_ray.shards.manifest import ShardEntry, file_sha256
from mas_ray.shards.write import write_rows

ROWS_PER_SHARD = 256

RowsOfTake = Callable[[str], Iterator[dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The rows ``start <= row < stop`` of a take, counted within the take."""

    take_id: str
    start: int
    stop: int


def plan_shards(num_rows: Mapping[str, int], *, version: str) -> dict[str, tuple[Slice, ...]]:
    """Which rows go into which shard (path relative to the dataset), in the order of the takes given.

    ``version`` names the folder of this content's shards, so that new content never overwrites old files.
    """
    shards: list[list[Slice]] = []
    room = 0
    for take_id, total in num_rows.items():
        start = 0
        while start < total:
            if room == 0:
                shards.append([])
                room = ROWS_PER_SHARD
            stop = min(total, start + room)
            shards[-1].append(Slice(take_id=take_id, start=start, stop=stop))
            room -= stop - start
            start = stop
    return {f"shards/{version}/part-{i:05d}.parquet": tuple(slices) for i, slices in enumerate(shards)}


def write_shard(folder: Path, path: str, slices: tuple[Slice, ...], rows_of_take: RowsOfTake) -> ShardEntry:
    """Write one shard to ``folder / path``.

    Raises:
        ValueError: A take has fewer rows than its slice wants.
    """
    rows = itertools.chain.from_iterable(
        itertools.islice(rows_of_take(piece.take_id), piece.start, piece.stop) for piece in slices
    )
    written = write_rows(folder / path, rows)
    expected = sum(piece.stop - piece.start for piece in slices)
    if written != expected:
        raise ValueError(f"{folder / path}: got {written} rows, expected {expected}")
    return ShardEntry(
        path=path,
        rows=written,
        sha256=file_sha256(folder / path),
        takes=tuple(piece.take_id for piece in slices),
    )
