"""From the rows of takes to shards: a layout that depends on the takes and on the shards already there alone.

New rows go to new shards. A shard that still holds what it should stays as it is; one that holds rows of a take that
left is written anew without them, under another name, so that no version's shards are ever changed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from mas_ray.shards.location import Location
from mas_ray.shards.manifest import Manifest, ShardEntry, TakeEntry, file_sha256
from mas_ray.shards.write import write_tables

SHARD_BYTES = 256 * 2**20
"""A shard is full from here on; it ends below twice as much. A hundred thousand clips of some MB are then a few
thousand files, and a clip that leaves costs a second of writing."""


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The rows ``start <= row < stop`` of a take, counted within the take."""

    take_id: str
    start: int
    stop: int


TablesOfSlice = Callable[[Slice], Iterator[pa.Table]]


@dataclass(frozen=True, kw_only=True)
class PlannedShard:
    """What a shard shall hold; ``path`` is relative to the dataset."""

    path: str
    slices: tuple[Slice, ...]

    @property
    def num_rows(self) -> int:
        """Of all slices."""
        return sum(piece.stop - piece.start for piece in self.slices)

    def entry(self, sha256: str) -> ShardEntry:
        """The manifest's entry once it is written."""
        takes = tuple(piece.take_id for piece in self.slices)
        return ShardEntry(path=self.path, rows=self.num_rows, sha256=sha256, takes=takes)


def plan_layout(
    takes: Sequence[TakeEntry], num_bytes: Callable[[str], int], old: Manifest | None
) -> tuple[PlannedShard, ...]:
    """The shards of a version: those of the version before that still serve, then new ones.

    Args:
        takes: All takes of the new version, in the order of their ids.
        num_bytes: About how many bytes the rows of a take have; asked for takes alone that the old version lacks.
        old: The version before, if there is one.
    """
    rows_sha256 = {take.take_id: take.rows_sha256 for take in takes}
    held = (
        {take.take_id for take in old.takes if rows_sha256.get(take.take_id) == take.rows_sha256} if old else set[str]()
    )
    shards: list[PlannedShard] = []
    for entry, slices in zip(old.shards, slices_of_shards(old), strict=True) if old else ():
        kept = tuple(piece for piece in slices if piece.take_id in held)
        if kept:
            path = entry.path if kept == slices else _path(kept, rows_sha256)
            shards.append(PlannedShard(path=path, slices=kept))
    new = [take for take in takes if take.take_id not in held]
    for slices in _fill(new, num_bytes):
        shards.append(PlannedShard(path=_path(slices, rows_sha256), slices=slices))
    return tuple(shards)


def slices_of_shards(manifest: Manifest) -> tuple[tuple[Slice, ...], ...]:
    """Which rows each shard of a manifest holds: takes go on where the shard before left them."""
    totals = Counter({take.take_id: take.num_instants for take in manifest.takes})
    placed = Counter[str]()
    shards: list[tuple[Slice, ...]] = []
    for shard in manifest.shards:
        left = shard.rows
        slices: list[Slice] = []
        for take_id in shard.takes:
            start = placed[take_id]
            stop = min(totals[take_id], start + left)
            slices.append(Slice(take_id=take_id, start=start, stop=stop))
            placed[take_id] = stop
            left -= stop - start
        shards.append(tuple(slices))
    return tuple(shards)


def write_shard(folder: Location, planned: PlannedShard, tables_of_slice: TablesOfSlice) -> str:
    """Write one shard to ``folder / planned.path`` and return its SHA-256; a row group or two are held in memory.

    Raises:
        ValueError: A take has fewer rows than its slice wants.
    """
    path = folder / planned.path
    written = write_tables(path, (table for piece in planned.slices for table in tables_of_slice(piece)))
    if written != planned.num_rows:
        path.unlink()
        raise ValueError(f"{path}: got {written} rows, expected {planned.num_rows}")
    return file_sha256(path)


def _fill(takes: Sequence[TakeEntry], num_bytes: Callable[[str], int]) -> list[tuple[Slice, ...]]:
    """Pack takes in order. One that alone is larger than a shard is cut where shards are full; no other is cut."""
    shards: list[list[Slice]] = []
    filled = SHARD_BYTES
    for take in takes:
        size = num_bytes(take.take_id)
        start = 0
        while start < take.num_instants:
            if filled >= SHARD_BYTES:
                shards.append([])
                filled = 0
            stop = take.num_instants
            if size > SHARD_BYTES:
                stop = min(stop, start + _ceil_divide((SHARD_BYTES - filled) * take.num_instants, size))
            shards[-1].append(Slice(take_id=take.take_id, start=start, stop=stop))
            filled += _ceil_divide((stop - start) * size, take.num_instants)
            start = stop
    return [tuple(slices) for slices in shards]


def _ceil_divide(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _path(slices: Sequence[Slice], rows_sha256: Mapping[str, str]) -> str:
    """Named after the rows, so that other rows never overwrite it and equal ones find it."""
    lines = (f"{piece.take_id} {rows_sha256[piece.take_id]} {piece.start} {piece.stop}\n" for piece in slices)
    return f"shards/{hashlib.sha256(''.join(lines).encode()).hexdigest()[:16]}.parquet"
