"""Whether a dataset is what its manifest says: every byte, every row's place, and a sample of rows decoded; no Ray."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import pyarrow as pa

from mas_ray.pipelines.progress import progress
from mas_ray.shards.compact import Slice, slices_of_shards
from mas_ray.shards.images import decode_distances, decode_image, decode_mask
from mas_ray.shards.location import Location, open_parquet, read_lines
from mas_ray.shards.manifest import (
    DISTANCE_MAP_SIZE,
    Manifest,
    ShardEntry,
    digest_rows,
    file_sha256,
    read_manifest,
    sum_statistics,
)
from mas_ray.shards.schema import SCHEMA_VERSION, check_schema
from mas_ray.shards.splits import SplitSizes, split_sizes


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was looked at, and a line for whatever is wrong."""

    num_shards: int
    num_rows: int
    num_decoded: int
    splits: SplitSizes
    faults: tuple[str, ...]


class _Seen(NamedTuple):
    """The instants of a take so far."""

    num: int = 0
    last: int = -1
    in_order: bool = True


def verify(path: Location, *, sample: int = 64) -> Verification:
    """Check a dataset from its manifest down to pixels; trusts no remembered hash.

    Args:
        path: The dataset's folder, or the manifest of one of its versions.
        sample: About how many rows to decode, spread evenly over the dataset.

    Raises:
        ValueError: There is no manifest, or it is none of ours.
    """
    path = path / "manifest.json" if path.is_dir() else path
    folder, manifest = path.parent, read_manifest(path)
    faults = list(_check_manifest(manifest))
    if path.name == "manifest.json":
        faults += _check_rejects(folder / "rejects.jsonl", manifest)
    seen = dict[str, _Seen]()
    num_rows = sum(shard.rows for shard in manifest.shards)
    every = max(1, num_rows // max(1, sample))
    views, size_px = manifest.view_slots, manifest.parameters.crop.size_px
    first = num_decoded = 0
    with ThreadPoolExecutor() as threads, progress("verify", len(manifest.shards), "shards") as advance:
        # Hashing releases the interpreter lock; the rows are looked at meanwhile.
        digests = threads.map(_digest, (folder / shard.path for shard in manifest.shards))
        pieces = slices_of_shards(manifest)
        for shard, slices, digest in zip(manifest.shards, pieces, digests, strict=True):
            if digest is None:
                faults.append(f"{shard.path}: missing")
            else:
                sample_rows = range(-first % every, shard.rows, every)
                if digest != shard.sha256:
                    faults.append(f"{shard.path}: sha256 is {digest}, the manifest says {shard.sha256}")
                decoded, found = _check_shard(folder, shard, slices, views, size_px, seen, sample_rows)
                num_decoded += decoded
                faults += found
            first += shard.rows
            advance(1)
    if not faults:  # else they say why instants are missing
        faults += _check_instants(manifest, seen)
    return Verification(
        num_shards=len(manifest.shards),
        num_rows=num_rows,
        num_decoded=num_decoded,
        splits=split_sizes(manifest),
        faults=tuple(faults),
    )


def _check_manifest(manifest: Manifest) -> Iterator[str]:
    """Faults that show without looking at a shard."""
    where = "manifest.json"
    takes = {take.take_id: take for take in manifest.takes}
    if manifest.schema_version != SCHEMA_VERSION:
        yield f"{where}: schema version {manifest.schema_version}, expected {SCHEMA_VERSION}"
    if len(takes) != len(manifest.takes):
        yield f"{where}: takes: some are there twice"
    if manifest.rows_sha256 and manifest.rows_sha256 != digest_rows(manifest.takes):
        yield f"{where}: rows_sha256 is not that of the takes"
    if manifest.rows_sha256 and manifest.statistics != sum_statistics(manifest.takes):
        yield f"{where}: statistics are not those of the takes"
    if sum(shard.rows for shard in manifest.shards) != sum(take.num_instants for take in manifest.takes):
        yield f"{where}: the shards have not as many rows as the takes have instants"
    for shard in manifest.shards:
        yield from (f"{where}: {shard.path} holds an unknown take {t!r}" for t in shard.takes if t not in takes)
    used: defaultdict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for split in ("train", "validation", "test"):
        for item in manifest.splits.ranges(split):
            if item.take_id not in takes:
                yield f"{where}: splits.{split} refers to an unknown take {item.take_id!r}"
            if item.start >= item.stop:
                yield f"{where}: splits.{split} has an empty range of take {item.take_id!r}"
            used[item.take_id].append((item.start, item.stop, split))
    for take_id, ranges in used.items():
        ranges.sort()
        for (_, stop, first), (start, _, second) in itertools.pairwise(ranges):
            if start < stop:
                yield f"{where}: take {take_id!r} has instants both in {first} and in {second}"


def _check_rejects(path: Location, manifest: Manifest) -> Iterator[str]:
    if not path.is_file():
        yield f"{path.name}: missing"
        return
    counts = Counter[str]()
    for number, line in enumerate(read_lines(path), start=1):
        try:
            counts[json.loads(line)["reason"]] += 1
        except (ValueError, KeyError, TypeError):
            yield f"{path.name}: line {number} is no reject"
    expected = Counter[str]()
    for reject in manifest.rejects:
        expected[reject.reason] += reject.count
    for reason in sorted(counts.keys() | expected.keys()):
        if counts[reason] != expected[reason]:
            yield f"{path.name}: {counts[reason]} rejects {reason!r}, the manifest counts {expected[reason]}"


def _digest(path: Location) -> str | None:
    return file_sha256(path) if path.is_file() else None


def _check_shard(
    folder: Location,
    shard: ShardEntry,
    slices: tuple[Slice, ...],
    views: Mapping[str, Sequence[str]],
    size_px: int,
    seen: dict[str, _Seen],
    sample_rows: range,
) -> tuple[int, list[str]]:
    """How many rows were decoded, and the faults; ``seen`` grows by the shard's instants."""
    faults: list[str] = []
    num_decoded = first = 0
    try:
        with open_parquet(folder / shard.path) as file:
            check_schema(file.schema_arrow, shard.path)
            if file.metadata.num_rows != shard.rows:
                faults.append(f"{shard.path}: {file.metadata.num_rows} rows, the manifest says {shard.rows}")
            place = file.read(columns=["take_id", "instant"])
            found = place["take_id"].to_pylist()
            expected = [piece.take_id for piece in slices for _ in range(piece.start, piece.stop)]
            if found != expected:
                faults.append(f"{shard.path}: rows are not of the takes that the manifest says, in its order")
            for take_id, instant in zip(found, place["instant"].to_pylist(), strict=True):
                before = seen.get(take_id, _Seen())
                seen[take_id] = _Seen(before.num + 1, instant, before.in_order and instant > before.last)
            for group in range(file.num_row_groups):
                num_rows = file.metadata.row_group(group).num_rows
                picked = [row for row in range(num_rows) if first + row in sample_rows]
                if picked:
                    for row in file.read_row_group(group).take(picked).to_pylist():
                        faults += _check_row(row, shard.path, views.get(row["take_id"], ()), size_px)
                        num_decoded += 1
                first += num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        faults.append(f"{shard.path}: not readable: {str(error).splitlines()[0]}")
    return num_decoded, faults


def _check_row(row: Mapping[str, Any], where: str, known: Sequence[str], size: int) -> Iterator[str]:
    """Faults of a row whose take has the views ``known`` and crops of ``size`` pixels."""
    if not row["views"]:
        yield f"{where}: take {row['take_id']} instant {row['instant']}: no views"
    for view in row["views"]:
        at = f"{where}: take {row['take_id']} instant {row['instant']} view {view['name']}"
        if view["name"] not in known:
            yield f"{at}: the manifest does not know the view"
        try:
            image = decode_image(view["image"])
            if image.shape != (size, size, 3):
                yield f"{at}: image has the shape {image.shape}, expected {(size, size, 3)}"
            if not decode_mask(view["mask"], size, size).any():
                yield f"{at}: mask is empty"
            distances = decode_distances(view["geodesic_distance"], DISTANCE_MAP_SIZE)
            if not np.isfinite(distances).all():
                yield f"{at}: geodesic distances are not finite"
        except (pa.ArrowException, cv2.error, OSError, ValueError) as error:
            yield f"{at}: does not decode: {str(error).splitlines()[0]}"
        numbers = [view["mask_score"], *view["crop_from_image"], *view["K"], *view["R"], *view["t_mm"]]
        if not np.isfinite(numbers).all():
            yield f"{at}: crop or camera is not finite"


def _check_instants(manifest: Manifest, seen: Mapping[str, _Seen]) -> Iterator[str]:
    for take in manifest.takes:
        found = seen.get(take.take_id, _Seen())
        if found.num != take.num_instants:
            yield f"take {take.take_id}: {found.num} instants in the shards, the manifest says {take.num_instants}"
        if not found.in_order:
            yield f"take {take.take_id}: instants are not in order, each once"
