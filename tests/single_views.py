"""A dataset of single uncalibrated views, cut out of a dataset with many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from mas_ray.config.ingest import NoSplit
from mas_ray.shards.manifest import ShardEntry, Splits, TakeEntry, file_sha256, read_manifest, write_manifest
from mas_ray.shards.read import read_split
from mas_ray.shards.splits import plan_splits
from mas_ray.shards.write import write_rows


def write_single_views(folder: Path, source: Path, *, trains: bool = True) -> Path:
    """Write the first and third view of the training split as a take each, and return the manifest's path.

    Args:
        folder: Where to write.
        source: Manifest of the dataset to cut from; its first take trains.
        trains: Otherwise the training split is empty.
    """
    manifest = read_manifest(source)
    rows = list(read_split(source.parent, manifest, "train"))
    takes: list[TakeEntry] = []
    shards: list[ShardEntry] = []
    for view in (0, 2):
        name = manifest.takes[0].views[view]
        path = f"shards/part-{view:05d}.parquet"
        num_rows = write_rows(folder / path, [_alone(row, name, view) for row in rows])
        digest = file_sha256(folder / path)
        take = replace(manifest.takes[0], take_id=name, views=(name,), num_instants=num_rows, rows_sha256=digest)
        takes.append(take)
        shards.append(ShardEntry(path=path, rows=num_rows, sha256=digest, takes=(name,)))
    splits = plan_splits(
        NoSplit(), {take.take_id: range(take.num_instants) for take in takes}, {t.take_id: t.subject for t in takes}
    )
    if not trains:
        splits = Splits(train=(), validation=(), test=splits.train)
    write_manifest(
        folder / "manifest.json",
        replace(manifest, takes=tuple(takes), shards=tuple(shards), split_config=NoSplit(), splits=splits),
    )
    return folder / "manifest.json"


def _alone(row: dict[str, Any], name: str, view: int) -> dict[str, Any]:
    alone = row["views"][view]
    assert alone["name"] == name
    camera = {"calibrated": False, "K": [0.0] * 9, "R": [0.0] * 9, "t_mm": [0.0] * 3}
    return {**row, "take_id": name, "views": [alone | camera]}
