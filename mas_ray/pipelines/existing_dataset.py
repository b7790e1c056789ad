"""What a dataset folder holds from earlier ingests, and whether it is all that an ingest asks for; no Ray."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mas_ray.config import codec
from mas_ray.config.jobs import IngestJob
from mas_ray.ingest import commit
from mas_ray.ingest.commit import CommitRecord
from mas_ray.ingest.fingerprint import Fingerprints
from mas_ray.ingest.rejects import Reject
from mas_ray.ingest.take_work import PlannedTake
from mas_ray.shards.location import Location, location, names_in
from mas_ray.shards.manifest import Manifest, damaged_shards, earlier_manifests, file_sha256, read_manifest
from mas_ray.shards.write import write_text

_FILES = frozenset({"job.json", "manifest.json", "rejected.parquet", "rejects.jsonl"})


@dataclass(frozen=True, kw_only=True)
class ExistingDataset:
    """The newest version in a folder."""

    folder: Location
    work: Path
    """Where its takes are made."""
    manifest: Manifest | None
    damaged: frozenset[str]
    """Paths of the shards that are missing or not the manifest's."""
    intact_rows: frozenset[tuple[str, str]]
    """(take, rows_sha256) of the takes whose rows all stand in intact shards."""

    @classmethod
    def open(cls, folder: Location, work: Path, fingerprints: Fingerprints) -> ExistingDataset:
        """Look at a dataset folder, which may hold nothing yet; reads shards that changed since they were last read."""
        path = folder / "manifest.json"
        if not path.exists():
            path = next(reversed(earlier_manifests(folder).values()), path)
        if not path.exists():
            return cls(folder=folder, work=work, manifest=None, damaged=frozenset(), intact_rows=frozenset())
        manifest = read_manifest(path)
        fingerprints.learn(folder / shard.path for shard in manifest.shards)
        damaged = damaged_shards(folder, manifest, fingerprints.sha256)
        broken = {take_id for shard in damaged for take_id in shard.takes}
        return cls(
            folder=folder,
            work=work,
            manifest=manifest,
            damaged=frozenset(shard.path for shard in damaged),
            intact_rows=frozenset(
                (take.take_id, take.rows_sha256)
                for take in manifest.takes
                if take.take_id not in broken and take.num_frames  # manifests once had no statistics
            ),
        )

    def take_ids(self, key: str) -> frozenset[str]:
        """The takes that the dataset holds, if it was made with these parameters."""
        same = self.manifest is not None and self.manifest.key == key
        return frozenset(take.take_id for take in self.manifest.takes) if self.manifest and same else frozenset()

    def holds(self, record: CommitRecord) -> bool:
        """Whether all rows of a committed take stand in intact shards."""
        return (record.take_id, record.sha256) in self.intact_rows


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Which question ``manifest.json`` was the answer to: ``finished.json`` of the work folder."""

    plan_sha256: str
    manifest_sha256: str

    @classmethod
    def of(cls, job: IngestJob, key: str, planned: Sequence[PlannedTake], left_out: Sequence[Reject]) -> Finished:
        """Of the manifest that is there: the takes with their contents, and what else of a job shows in a manifest."""
        plan = hashlib.sha256("\n".join([key, job.corpus, repr(job.split)]).encode())
        for item in planned:
            plan.update(f"{item.take.take_id} {item.content}\n".encode())
        for reject in left_out:
            plan.update(f"{reject}\n".encode())
        return cls(plan_sha256=plan.hexdigest(), manifest_sha256=file_sha256(location(job.output) / "manifest.json"))


def is_finished(
    job: IngestJob, key: str, planned: Sequence[PlannedTake], left_out: Sequence[Reject], old: ExistingDataset
) -> bool:
    """Whether the folder holds just what an ingest of these takes would make, by what the last one wrote down."""
    path = finished_path(old.work)
    if not path.is_file() or old.damaged or not _FILES.issubset(names_in(old.folder)):
        return False
    found = codec.loads(Finished, path.read_text(encoding="utf-8"), str(path))
    return found == Finished.of(job, key, planned, left_out) and all(commit.has_record(item.folder) for item in planned)


def mark_finished(
    job: IngestJob, key: str, planned: Sequence[PlannedTake], left_out: Sequence[Reject], work: Path
) -> None:
    """Write down that ``manifest.json`` is what an ingest of these takes makes; nothing of it may be left to do."""
    write_text(finished_path(work), codec.dumps(Finished.of(job, key, planned, left_out)))


def finished_path(work: Path) -> Path:
    """Where a work folder says that its dataset is finished."""
    return work / "finished.json"
