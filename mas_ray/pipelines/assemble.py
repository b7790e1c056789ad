"""From committed takes to the finished dataset: shards, splits, rejects, and the manifest last; no Ray."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mas_ray import __version__
from mas_ray.config import codec
from mas_ray.config.jobs import IngestJob
from mas_ray.corpora.take import Take
from mas_ray.ingest import commit
from mas_ray.ingest.commit import CommitRecord
from mas_ray.ingest.rejects import count_rejects
from mas_ray.ingest.take_work import PlannedTake
from mas_ray.shards.compact import plan_shards, write_shard
from mas_ray.shards.manifest import (
    FORMAT,
    IngestParameters,
    Manifest,
    ShardEntry,
    TakeEntry,
    damaged_shards,
    read_manifest,
    write_manifest,
)
from mas_ray.shards.read import read_rows, read_take
from mas_ray.shards.schema import SCHEMA_VERSION
from mas_ray.shards.splits import plan_splits
from mas_ray.shards.write import write_text


@dataclass(frozen=True, kw_only=True)
class ExistingDataset:
    """What a folder holds from an earlier ingest."""

    folder: Path
    manifest: Manifest | None
    damaged: frozenset[str]
    """Paths of the shards that are missing or not the manifest's."""

    @classmethod
    def open(cls, folder: Path) -> ExistingDataset:
        """Look at a dataset folder, which may hold nothing yet; reads every shard to verify it."""
        path = folder / "manifest.json"
        if not path.exists():
            return cls(folder=folder, manifest=None, damaged=frozenset())
        manifest = read_manifest(path)
        damaged = frozenset(shard.path for shard in damaged_shards(folder, manifest))
        return cls(folder=folder, manifest=manifest, damaged=damaged)

    def holds(self, record: CommitRecord) -> bool:
        """Whether all rows of a committed take stand in intact shards."""
        if self.manifest is None:
            return False
        known = any(
            (entry.take_id, entry.rows_sha256) == (record.take_id, record.sha256) for entry in self.manifest.takes
        )
        return known and not any(
            record.take_id in shard.takes and shard.path in self.damaged for shard in self.manifest.shards
        )


def assemble(
    job: IngestJob, planned: list[PlannedTake], parameters: IngestParameters, old: ExistingDataset
) -> Manifest:
    """Lay the committed rows out in shards and write the manifest last.

    Raises:
        ValueError: A take is not committed, too many takes yield nothing, or the split does not fit.
    """
    output = Path(job.output)
    records = {item.take.take_id: _record(item) for item in planned}
    _check_rejects(job, records)
    takes = tuple(_entry(item.take, records[item.take.take_id]) for item in planned)
    takes = tuple(entry for entry in takes if entry.num_instants)
    splits = plan_splits(
        job.split,
        {entry.take_id: records[entry.take_id].instants for entry in takes},
        {entry.take_id: entry.subject for entry in takes},
    )
    rejects = [reject for record in records.values() for reject in record.rejects]
    manifest = Manifest(
        format=FORMAT,
        schema_version=SCHEMA_VERSION,
        code_version=__version__,
        corpus=job.corpus,
        parameters=parameters,
        split_config=job.split,
        takes=takes,
        shards=_write_shards(output, takes, {item.take.take_id: item for item in planned}, old),
        splits=splits,
        rejects=count_rejects(rejects),
    )
    write_text(output / "rejects.jsonl", "".join(json.dumps(asdict(reject)) + "\n" for reject in rejects))
    write_text(output / "job.json", codec.dumps(job))
    write_manifest(output / "manifest.json", manifest)
    _remove_leftovers(output, manifest, planned)
    return manifest


def _record(item: PlannedTake) -> CommitRecord:
    record = commit.read_record(item.folder, item.content)
    if record is None:
        raise ValueError(f"{item.folder}: take {item.take.take_id!r} was not committed; run ingest again")
    return record


def _entry(take: Take, record: CommitRecord) -> TakeEntry:
    return TakeEntry(
        take_id=take.take_id,
        subject=take.subject,
        action=take.action,
        views=tuple(clip.view for clip in take.clips),
        num_instants=len(record.instants),
        rows_sha256=record.sha256,
    )


def _check_rejects(job: IngestJob, records: Mapping[str, CommitRecord]) -> None:
    empty = [record for record in records.values() if not record.instants]
    if len(empty) <= job.max_reject_fraction * len(records) and len(empty) < len(records):
        return
    reasons = Counter(reject.reason for record in empty for reject in record.rejects)
    first = next(reject for reject in empty[0].rejects if reject.instant is None)
    raise ValueError(
        f"{job.root}: {len(empty)} of {len(records)} takes yield nothing (at most {job.max_reject_fraction:.0%} may); "
        f"most often {reasons.most_common(1)[0][0]}; take {first.take_id}: {first.detail or first.reason}"
    )


def _write_shards(
    output: Path, takes: tuple[TakeEntry, ...], planned: Mapping[str, PlannedTake], old: ExistingDataset
) -> tuple[ShardEntry, ...]:
    """Bring the shards to what the takes need; those that are right already are left alone."""

    def rows_of_take(take_id: str) -> Iterator[dict[str, Any]]:
        item = planned[take_id]
        if old.manifest and not commit.has_part(item.folder, _record(item)):
            return read_take(output, old.manifest, take_id)
        return read_rows(commit.part_path(item.folder))

    layout = plan_shards({entry.take_id: entry.num_instants for entry in takes}, version=_content_version(takes))
    intact = {shard.path: shard for shard in old.manifest.shards} if old.manifest else {}
    return tuple(
        intact[path] if path in intact and path not in old.damaged else write_shard(output, path, slices, rows_of_take)
        for path, slices in layout.items()
    )


def _content_version(takes: tuple[TakeEntry, ...]) -> str:
    """Equal for equal rows in an equal order."""
    text = "\n".join(f"{entry.take_id} {entry.rows_sha256}" for entry in takes)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _remove_leftovers(output: Path, manifest: Manifest, planned: list[PlannedTake]) -> None:
    """What the manifest made needless: shards of earlier content, and the parts that its shards now hold."""
    kept = {(output / shard.path).parent for shard in manifest.shards}
    for folder in (output / "shards").iterdir():
        if folder not in kept:
            shutil.rmtree(folder)
    for item in planned:
        commit.part_path(item.folder).unlink(missing_ok=True)
