"""One take from its videos to its committed rows: what an ingest worker does."""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mas_ray import assets
from mas_ray.config.ingest import CropConfig
from mas_ray.corpora.layout import BadSourceError
from mas_ray.corpora.remote import current_version, fetched
from mas_ray.corpora.take import Take
from mas_ray.ingest import commit
from mas_ray.ingest.rejects import BadTakeError, MachineError, Reject
from mas_ray.ingest.rows import Row
from mas_ray.ingest.take_in_store import take_in_store
from mas_ray.ingest.take_rows import Findings, TakeSettings, take_rows
from mas_ray.ingest.tally import Tally
from mas_ray.shards.manifest import file_sha256
from mas_ray.shards.reject_samples import write_reject_samples
from mas_ray.shards.write import write_rows

_BYTES_PER_PIXEL = 0.4
"""Of a view in a shard: JPEG, mask and distances together, measured on people."""
_MOST_DEATHS = 10
"""Of one take in all sessions together: then even a take that only ever dies with its driver is set aside."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedTake:
    """A take, its place in the work tree as the driver sees it, its ``take_content`` and its ``take_footage``."""

    take: Take
    folder: Path
    content: str
    footage: str


def ingest_take(item: PlannedTake, settings: TakeSettings, *, advance: Callable[[Tally], None]) -> commit.CommitRecord:
    """Ingest a take and commit it in its folder, on a disk or in a store; a committed take is left as it is.

    Args:
        item: The take.
        settings: How to ingest it.
        advance: Called with what was done since the last call.

    Returns:
        The record, now in its place. A take that cannot be ingested, or that has killed its process ``max_attempts``
        times in a session, is recorded without rows and with the reason; ``failed`` is one that we did not foresee.

    Raises:
        OSError: The machine's fault, not the take's: the disk is too small for its rows, for one.
    """
    work = settings.work
    if work is None:
        return _ingest_take(item, settings, advance=advance, begun=lambda: None)
    network = settings.selfie_model
    if network is not None and not network.is_file():  # it lies in the cache of the driver's machine
        settings = replace(settings, selfie_model=assets.fetch(assets.SELFIE_SEGMENTATION) / network.name)
    with take_in_store(work / item.folder.name) as (folder, begun):
        return _ingest_take(replace(item, folder=folder), settings, advance=advance, begun=begun)


def _ingest_take(
    item: PlannedTake, settings: TakeSettings, *, advance: Callable[[Tally], None], begun: Callable[[], None]
) -> commit.CommitRecord:
    """``ingest_take`` in a folder of a disk. What has ``begun`` is told once the attempt stands in the journal."""
    take, folder, content = item.take, item.folder, item.content
    record = commit.read_record(folder, content)
    if record and commit.has_part(folder, record):
        return record
    deaths, deaths_in_all = commit.num_deaths(folder, content, settings.session), commit.num_deaths(folder, content)
    findings = Findings.of(take)
    with commit.attempt(folder, content, settings.session):
        begun()
        if deaths >= settings.max_attempts or deaths_in_all >= _MOST_DEATHS:
            crashed = f"killed its worker {deaths_in_all} times; `mas-ray requeue` lets the next ingest try it again"
            rows = iter(())
            findings.rejects.append(Reject(take_id=take.take_id, reason="crashed", detail=crashed))
        else:
            rows = _rows(
                item,
                settings,
                findings,
                advance=advance,
                begin=lambda num_views: _check_disk(folder, num_views, settings.parameters.crop),
            )
        instants = _write_part(commit.part_path(folder), rows, take, findings)
        write_reject_samples(commit.samples_path(folder), findings.samples.samples())
        record = commit.CommitRecord(
            take_id=take.take_id,
            content=content,
            sha256=file_sha256(commit.part_path(folder)),
            instants=tuple(instants),
            rejects=tuple(findings.rejects),
            movement=findings.movement,
            score=findings.score,
        )
        commit.write_record(folder, record)
    return record


def _rows(
    item: PlannedTake,
    settings: TakeSettings,
    findings: Findings,
    *,
    advance: Callable[[Tally], None],
    begin: Callable[[int], None],
) -> Iterator[Row]:
    """``take_rows`` of a take wherever its files are; fetched ones lie in its folder of the work tree meanwhile."""
    store = settings.corpus
    if store is None:
        yield from take_rows(item.take, settings, findings, advance=advance, begin=begin)
        return
    try:
        with fetched(store, item.take, item.folder) as local:
            if commit.take_content_in_store(item.take, lambda path: current_version(store, path)) != item.content:
                raise BadSourceError("changed_while_read", "it is no longer what was listed; the next run tries again")
            yield from take_rows(local, settings, findings, advance=advance, begin=begin)
    except BadSourceError as error:
        raise BadTakeError(error.reason, str(error)) from None


def _write_part(path: Path, rows: Iterator[Row], take: Take, findings: Findings) -> list[int]:
    """Stream the rows to the part, and give their instants; a bad take gives an empty one and the reason alone."""
    instants: list[int] = []

    def noted() -> Iterator[Row]:
        for row in rows:
            instants.append(row["instant"])
            yield row

    try:
        write_rows(path, noted())
    except (OSError, MemoryError, MachineError):
        raise
    except Exception as error:  # whatever this take has found in us, no other take has to wait for it
        reason = error.reason if isinstance(error, BadTakeError) else "failed"
        detail = str(error) if isinstance(error, BadTakeError) else f"{type(error).__name__}: {error}"
        write_rows(path, ())
        findings.rejects = [Reject(take_id=take.take_id, reason=reason, detail=" ".join(detail.split()))]
        return []
    if not instants and not any(reject.instant is None for reject in findings.rejects):
        findings.rejects.append(_nothing_left(take, findings.rejects))
    return instants


def _nothing_left(take: Take, rejects: list[Reject]) -> Reject:
    """Why a take has no instant: what most of its views were left out for."""
    reasons = Counter(sorted(reject.reason for reject in rejects if reject.view is not None))
    if not reasons:
        return Reject(take_id=take.take_id, reason="no_instants", detail="the video has no frames")
    reason, count = reasons.most_common(1)[0]
    return Reject(take_id=take.take_id, reason=reason, detail=f"no instant has a usable view; {count} views: {reason}")


def _check_disk(folder: Path, num_views: int, crop: CropConfig) -> None:
    """Before hours of work: parts and shards stand side by side for a while."""
    needed = 2 * num_views * crop.size_px**2 * _BYTES_PER_PIXEL
    free = shutil.disk_usage(folder).free
    if needed > free:
        message = f"{num_views} views need about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"
        raise OSError(errno.ENOSPC, message)
