"""Looking after a dataset folder: verify what it holds, collect what nothing needs, give takes another try; no Ray."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mas_ray.ingest import commit
from mas_ray.pipelines.dataset_lock import locked
from mas_ray.pipelines.existing_dataset import finished_path
from mas_ray.pipelines.kept_folder import KeptFolder
from mas_ray.shards.location import Location, files_below, location
from mas_ray.shards.manifest import Manifest, earlier_manifests, read_manifest


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """Something in a dataset folder that nothing needs."""

    path: Location
    kind: Literal["temporary", "version", "shard", "part", "work"]
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class Requeued:
    """A take that the next ingest tries again, and why it had been left out."""

    take_id: str
    reason: str
    detail: str


def collect_garbage(folder: Location, work: Location, *, keep: int = 1, dry_run: bool = False) -> tuple[Garbage, ...]:
    """Remove what no kept version of a dataset refers to, and say what it was.

    That is: temporary files of processes that died, manifests of versions before the last ``keep``, shards that only
    those had, parts whose rows stand in shards already, and the work trees of other parameters than a kept version's.
    What an unfinished ingest of the newest version's parameters has committed stays.

    Args:
        folder: The dataset.
        work: Where its takes are made.
        keep: How many versions stay, counted from the newest.
        dry_run: Remove nothing.

    Raises:
        ValueError: ``keep`` is below one, the dataset is not complete, or a process is writing it.
    """
    if keep < 1:
        raise ValueError(f"keep: expected at least one version, got {keep}")
    newest = read_manifest(folder / "manifest.json")
    with locked(work, folder) as kept:
        garbage = tuple(_find_garbage(folder, kept.path, newest, keep))
        if not dry_run:
            for item in garbage:
                if isinstance(item.path, Path) and item.path.is_dir():
                    shutil.rmtree(item.path)
                else:
                    item.path.unlink()
        return tuple(replace(item, path=_shown(item.path, kept)) for item in garbage)


def _shown(path: Location, kept: KeptFolder) -> Location:
    """Where something is for everybody."""
    return location(kept.address(path)) if _is_below(path, kept.path) and isinstance(path, Path) else path


def requeue(folder: Location, work: Location, reason: str, take_id: str | None = None) -> tuple[Requeued, ...]:
    """Forget what became of takes that were left out as a whole for ``reason``, so that the next ingest tries again.

    Args:
        folder: The dataset, finished or not.
        work: Where its takes are made.
        reason: As in ``rejects.jsonl``.
        take_id: This take alone.

    Raises:
        ValueError: There is no such take, or a process is writing the dataset.
    """
    if not work.is_dir():
        raise ValueError(f"{work}: no such folder; expected the one where ingest made the dataset's takes")
    requeued: list[Requeued] = []
    others: Counter[str] = Counter()
    with locked(work, folder) as kept:
        for path in sorted(kept.path.glob("*/*/commit.json")):
            record = commit.read_record(path.parent)
            if record is None or record.instants or (take_id is not None and record.take_id != take_id):
                continue
            of_takes = [reject for reject in record.rejects if reject.instant is None and reject.view is None]
            others.update(reject.reason for reject in of_takes)
            for reject in of_takes:
                if reject.reason == reason:
                    finished_path(kept.path).unlink(missing_ok=True)
                    commit.discard(path.parent)
                    requeued.append(Requeued(take_id=record.take_id, reason=reason, detail=reject.detail))
                    break
    if not requeued:
        which = "no take" if take_id is None else f"take {take_id!r} is not"
        there = ", ".join(f"{name} ({count})" for name, count in others.most_common()) or "none"
        raise ValueError(
            f"{work}: {which} left out for the reason {reason!r} by a worker, whose reasons are: {there}; "
            "what no worker has looked at, every ingest looks at anew"
        )
    return tuple(requeued)


def _find_garbage(folder: Location, work: Path, newest: Manifest, keep: int) -> Iterator[Garbage]:
    """Nothing within anything else that is found."""
    earlier = {n: path for n, path in earlier_manifests(folder).items() if n < newest.version}
    dropped = list(earlier.values())[: max(0, len(earlier) - (keep - 1))]
    kept = [newest, *(read_manifest(path) for path in earlier.values() if path not in dropped)]
    needed = {str(folder / shard.path) for manifest in kept for shard in manifest.shards}
    for path, num_bytes in files_below(folder):
        if path in dropped:
            yield Garbage(path=path, kind="version", num_bytes=num_bytes)
        elif ".partial-" in path.name and not _is_below(path, work):
            yield Garbage(path=path, kind="temporary", num_bytes=num_bytes)
        elif path.parent == folder / "shards" and str(path) not in needed:
            yield Garbage(path=path, kind="shard", num_bytes=num_bytes)
    keys = {manifest.key for manifest in kept}
    trees = [path for path in sorted(work.iterdir()) if path.is_dir() and re.fullmatch("[0-9a-f]{16}", path.name)]
    for tree in trees:
        if "" not in keys and tree.name not in keys:
            yield Garbage(path=tree, kind="work", num_bytes=_num_bytes(tree))
    for take in newest.takes:
        tree = work / newest.key / take.take_id
        part = commit.part_path(tree)
        if newest.key and part.is_file():
            record = commit.read_record(tree)
            if record is not None and record.sha256 == take.rows_sha256:
                yield Garbage(path=part, kind="part", num_bytes=part.stat().st_size)
    for path in sorted(work.rglob("*.partial-*")):
        if "" in keys or path.relative_to(work).parts[0] in keys:
            yield Garbage(path=path, kind="temporary", num_bytes=_num_bytes(path))


def _num_bytes(path: Path) -> int:
    return sum(num_bytes for _, num_bytes in files_below(path)) if path.is_dir() else path.stat().st_size


def _is_below(path: Location, folder: Path) -> bool:
    return isinstance(path, Path) and path.is_relative_to(folder)
