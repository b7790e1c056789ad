"""From committed takes to the finished dataset: shards, splits, rejects, and the manifest last; no Ray."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import pyarrow as pa

from mas_ray import __version__
from mas_ray.config import codec
from mas_ray.config.jobs import IngestJob
from mas_ray.ingest import commit
from mas_ray.ingest.commit import CommitRecord
from mas_ray.ingest.curation.copies import near_copies
from mas_ray.ingest.fingerprint import Fingerprints
from mas_ray.ingest.rejects import Reject, copy_reject, count_rejects
from mas_ray.ingest.take_work import PlannedTake
from mas_ray.pipelines.existing_dataset import ExistingDataset
from mas_ray.shards.compact import PlannedShard, Slice, plan_layout, write_shard
from mas_ray.shards.location import Location, location, publishing
from mas_ray.shards.manifest import (
    FORMAT,
    IngestParameters,
    Manifest,
    RejectCount,
    ShardEntry,
    TakeEntry,
    digest_rows,
    earlier_manifest_path,
    sum_statistics,
    write_manifest,
)
from mas_ray.shards.read import cut_tables, measure_rows, read_tables, read_take_tables
from mas_ray.shards.reject_samples import choose_samples, read_reject_samples, write_reject_samples
from mas_ray.shards.schema import SCHEMA_VERSION
from mas_ray.shards.splits import plan_splits
from mas_ray.shards.write import write_text

_SAMPLES_PER_REASON = 36


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a version of the dataset shall hold.

    ``left_out`` are takes that were not looked at: they cannot be listed, are exact copies, or changed meanwhile.
    """

    key: str
    parameters: IngestParameters
    mask_model_sha256: str | None
    planned: Sequence[PlannedTake]
    left_out: Sequence[Reject]


def assemble(job: IngestJob, content: Content, old: ExistingDataset, fingerprints: Fingerprints) -> Manifest:
    """Lay the committed rows out in shards and write the manifest last, as a new version if it says anything new.

    Raises:
        ValueError: A take is not committed, too many takes yield nothing, or the split does not fit.
    """
    output = location(job.output)
    content = _without_near_copies(job, content, old)
    takes, instants = _check_takes(job, content, old, fingerprints)
    splits = plan_splits(job.split, instants, {entry.take_id: entry.subject for entry in takes})
    shards = _write_shards(output, takes, content, old, fingerprints)
    manifest = Manifest(
        format=FORMAT,
        schema_version=SCHEMA_VERSION,
        code_version=__version__,
        corpus=job.corpus,
        parameters=content.parameters,
        split_config=job.split,
        takes=takes,
        shards=shards,
        splits=splits,
        rejects=_write_rejects(output / "rejects.jsonl", content),
        key=content.key,
        mask_model_sha256=content.mask_model_sha256,
        rows_sha256=digest_rows(takes),
        statistics=sum_statistics(takes),
    )
    samples = (s for item in content.planned for s in read_reject_samples(commit.samples_path(item.folder)))
    write_reject_samples(output / "rejected.parquet", choose_samples(samples, per_reason=_SAMPLES_PER_REASON))
    write_text(output / "job.json", codec.dumps(job))
    manifest = _publish(output, manifest, old.manifest)
    for item in content.planned:  # the shards hold their rows now
        commit.part_path(item.folder).unlink(missing_ok=True)
    return manifest


def _without_near_copies(job: IngestJob, content: Content, old: ExistingDataset) -> Content:
    """Without the single views that show what another one shows."""
    if job.curation is None:
        return content
    records = (_record(item) for item in content.planned if len(item.take.clips) == 1)
    movements = {record.take_id: record.movement for record in records if record.instants}
    copies = near_copies(movements, old.take_ids(content.key), min_overlap=job.curation.min_overlap)
    return replace(
        content,
        planned=[item for item in content.planned if item.take.take_id not in copies],
        left_out=[
            *content.left_out,
            *(copy_reject(take_id, kept, "near_duplicate") for take_id, kept in sorted(copies.items())),
        ],
    )


def _check_takes(
    job: IngestJob, content: Content, old: ExistingDataset, fingerprints: Fingerprints
) -> tuple[tuple[TakeEntry, ...], Mapping[str, Sequence[int]]]:
    """The takes that have rows and the instants of each; holds one record at a time."""
    entries: list[TakeEntry] = []
    instants: dict[str, Sequence[int]] = {}
    known = {entry.take_id: entry for entry in old.manifest.takes} if old.manifest else {}
    empty, reasons = list(content.left_out), Counter(reject.reason for reject in content.left_out)
    for item in content.planned:
        record = _record(item)
        if record.instants:
            entries.append(_entry(item, record, known.get(record.take_id) if old.holds(record) else None, fingerprints))
            instants[record.take_id] = array("q", record.instants)
        else:
            empty.append(next(reject for reject in record.rejects if reject.instant is None))
            reasons.update(reject.reason for reject in record.rejects)
    num_takes = len(content.planned) + len(content.left_out)
    if len(empty) > job.max_reject_fraction * num_takes or not entries:
        raise ValueError(
            f"{job.root}: {len(empty)} of {num_takes} takes yield nothing (at most {job.max_reject_fraction:.0%} may); "
            f"most often {reasons.most_common(1)[0][0]}; take {empty[0].take_id}: {empty[0].detail or empty[0].reason}"
        )
    return tuple(entries), instants


def _record(item: PlannedTake) -> CommitRecord:
    record = commit.read_record(item.folder, item.content)
    if record is None:
        raise ValueError(f"{item.folder}: take {item.take.take_id!r} was not committed; run ingest again")
    return record


def _entry(item: PlannedTake, record: CommitRecord, held: TakeEntry | None, fingerprints: Fingerprints) -> TakeEntry:
    """A take's entry; its rows stand in the shards already or in a part, which is checked."""
    if held:
        num_frames, seconds = held.num_frames, held.seconds
    elif commit.has_part(item.folder, record, fingerprints.sha256):
        num_frames, seconds = measure_rows(commit.part_path(item.folder))
    else:
        raise ValueError(f"{commit.part_path(item.folder)}: missing or damaged part; run ingest again")
    return TakeEntry(
        take_id=record.take_id,
        subject=item.take.subject,
        action=item.take.action,
        views=tuple(clip.view for clip in item.take.clips),
        num_instants=len(record.instants),
        rows_sha256=record.sha256,
        num_frames=num_frames,
        seconds=seconds,
    )


def _write_shards(
    output: Location, takes: Sequence[TakeEntry], content: Content, old: ExistingDataset, fingerprints: Fingerprints
) -> tuple[ShardEntry, ...]:
    """Bring the shards to what the takes need; those that are right already are left alone."""
    parts = {item.take.take_id: commit.part_path(item.folder) for item in content.planned}
    held = {entry.take_id for entry in takes if (entry.take_id, entry.rows_sha256) in old.intact_rows}
    intact = {shard.path: shard for shard in old.manifest.shards} if old.manifest else {}

    def tables_of_slice(piece: Slice) -> Iterator[pa.Table]:
        if old.manifest and piece.take_id in held:
            return cut_tables(read_take_tables(output, old.manifest, piece.take_id), piece.start, piece.stop)
        return read_tables(parts[piece.take_id], piece.start, piece.stop)

    def bring(planned: PlannedShard) -> ShardEntry:
        if planned.path in intact and planned.path not in old.damaged:
            return intact[planned.path]
        sha256 = None if planned.path in old.damaged else fingerprints.recall(output / planned.path)
        if sha256 is None:  # else a run that was killed had written it
            sha256 = write_shard(output, planned, tables_of_slice)
            fingerprints.note(output / planned.path, sha256)
        return planned.entry(sha256)

    layout = plan_layout(takes, lambda take_id: parts[take_id].stat().st_size, old.manifest)
    return tuple(map(bring, layout))


def _write_rejects(path: Location, content: Content) -> tuple[RejectCount, ...]:
    """Write every reject of the version, a line each, and count them; holds those of one take at a time."""
    with publishing(path) as partial, partial.open("w", encoding="utf-8") as file:

        def written() -> Iterator[Reject]:
            for reject in _rejects(content):
                file.write(json.dumps(asdict(reject)) + "\n")
                yield reject

        return count_rejects(written())


def _rejects(content: Content) -> Iterator[Reject]:
    for item in content.planned:
        yield from _record(item).rejects
    yield from content.left_out


def _publish(output: Location, manifest: Manifest, old: Manifest | None) -> Manifest:
    """Make a manifest the newest, unless the newest says the same already; the one before keeps its bytes."""
    path = output / "manifest.json"
    if old is not None:
        if path.exists():
            if replace(manifest, version=old.version, code_version=old.code_version) == old:
                return old
            write_text(earlier_manifest_path(output, old.version), path.read_text(encoding="utf-8"))
        manifest = replace(manifest, version=old.version + 1)
    write_manifest(path, manifest)
    return manifest
