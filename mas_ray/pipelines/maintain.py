"""Looking after a dataset folder: verify what it holds, collect what nothing needs, give takes another try; no Ray."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mas_ray.ingest import commit
from mas_ray.pipelines.dataset_lock import locked
from mas_ray.pipelines.existing_dataset import finished_path
from mas_ray.shards.manifest import Manifest, earlier_manifests, read_manifest


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """Something in a dataset folder that nothing needs."""

    path: Path
    kind: Literal["temporary", "version", "shard", "part", "work"]
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class Requeued:
    """A take that the next ingest tries again, and why it had been left out."""

    take_id: str
    reason: str
    detail: str


def collect_garbage(folder: Path, *, keep: int = 1, dry_run: bool = False) -> tuple[Garbage, ...]:
    """Remove what no kept version of a dataset refers to, and say what it was.

    That is: temporary files of processes that died, manifests of versions before the last ``keep``, shards that only
    those had, parts whose rows stand in shards already, and the work trees of other parameters than a kept version's.
    What an unfinished ingest of the newest version's parameters has committed stays.

    Args:
        folder: The dataset.
        keep: How many versions stay, counted from the newest.
        dry_run: Remove nothing.

    Raises:
        ValueError: ``keep`` is below one, the dataset is not complete, or a process is writing it.
    """
    if keep < 1:
        raise ValueError(f"keep: expected at least one version, got {keep}")
    newest = read_manifest(folder / "manifest.json")
    with locked(folder):
        garbage = tuple(_find_garbage(folder, newest, keep))
        if not dry_run:
            for item in garbage:
                if item.path.is_dir():
                    shutil.rmtree(item.path)
                else:
                    item.path.unlink()
    return garbage


def requeue(folder: Path, reason: str, take_id: str | None = None) -> tuple[Requeued, ...]:
    """Forget what became of takes that were left out as a whole for ``reason``, so that the next ingest tries again.

    Args:
        folder: The dataset, finished or not.
        reason: As in ``rejects.jsonl``.
        take_id: This take alone.

    Raises:
        ValueError: There is no such take, or a process is writing the dataset.
    """
    if not (folder / "work").is_dir():
        raise ValueError(f"{folder}: no dataset that was ingested here; expected a folder with work/")
    requeued: list[Requeued] = []
    with locked(folder):
        for path in sorted((folder / "work").glob("*/*/commit.json")):
            record = commit.read_record(path.parent)
            if record is None or record.instants or (take_id is not None and record.take_id != take_id):
                continue
            for reject in record.rejects:
                if reject.reason == reason and reject.instant is None and reject.view is None:
                    finished_path(folder).unlink(missing_ok=True)
                    commit.discard(path.parent)
                    requeued.append(Requeued(take_id=record.take_id, reason=reason, detail=reject.detail))
                    break
    if not requeued:
        which = "no take" if take_id is None else f"take {take_id!r} is not"
        raise ValueError(f"{folder}: {which} left out for the reason {reason!r}; rejects.jsonl has the reasons")
    return tuple(requeued)


def _find_garbage(folder: Path, newest: Manifest, keep: int) -> Iterator[Garbage]:
    """Nothing within anything else that is found."""
    earlier = {n: path for n, path in earlier_manifests(folder).items() if n < newest.version}
    dropped = list(earlier.values())[: max(0, len(earlier) - (keep - 1))]
    kept = [newest, *(read_manifest(path) for path in earlier.values() if path not in dropped)]
    yield from (_garbage(path, "version") for path in dropped)
    needed = {folder / shard.path for manifest in kept for shard in manifest.shards}
    for path in _files(folder / "shards"):
        if ".partial-" not in path.name and path not in needed:
            yield _garbage(path, "shard")
    keys = {manifest.key for manifest in kept}
    trees = [path for path in sorted((folder / "work").iterdir()) if path.is_dir()]
    foreign = [tree for tree in trees if tree.name not in keys] if "" not in keys else []
    yield from (_garbage(tree, "work") for tree in foreign)
    for take in newest.takes:
        tree = folder / "work" / newest.key / take.take_id
        part = commit.part_path(tree)
        if newest.key and part.is_file():
            record = commit.read_record(tree)
            if record is not None and record.sha256 == take.rows_sha256:
                yield _garbage(part, "part")
    for path in _files(folder):
        if ".partial-" in path.name and not any(path.is_relative_to(tree) for tree in foreign):
            yield _garbage(path, "temporary")


def _garbage(path: Path, kind: Literal["temporary", "version", "shard", "part", "work"]) -> Garbage:
    sizes = (file.stat().st_size for file in (_files(path) if path.is_dir() else [path]))
    return Garbage(path=path, kind=kind, num_bytes=sum(sizes))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
