"""One take from its videos to its committed rows: what an ingest worker does."""

from __future__ import annotations

import errno
import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2

from mas_ray.config.ingest import BackgroundMasks, CropConfig, DecodeLimits, MaskConfig, ProvidedMasks, SamMasks
from mas_ray.corpora.take import Clip, Take
from mas_ray.ingest import commit
from mas_ray.ingest.decode import ClipSource, Image, open_clip
from mas_ray.ingest.masks.create import create_view_masker
from mas_ray.ingest.masks.method import PersonMask, ViewMasker
from mas_ray.ingest.masks.sam import SamMasker
from mas_ray.ingest.masks.sam_prompts import PromptableModel
from mas_ray.ingest.rejects import BadTakeError, Reject
from mas_ray.ingest.rows import Row, frame_set_row, view_row
from mas_ray.ingest.sampling import sampled_frames
from mas_ray.ingest.tally import Tally
from mas_ray.ingest.video import VideoInfo
from mas_ray.shards.manifest import IngestParameters, file_sha256
from mas_ray.shards.write import write_rows


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedTake:
    """A take, its place in the work tree, and its ``take_content``."""

    take: Take
    folder: Path
    content: str


_BYTES_PER_PIXEL = 0.4
"""Of a view in a shard: JPEG, mask and distances together, measured on people."""
_MOST_DEATHS = 10
"""Of one take in all sessions together: then even a take that only ever dies with its driver is set aside."""


@dataclass(frozen=True, kw_only=True)
class TakeSettings:
    """What all takes of an ingest share.

    ``selfie_model`` is the path of the selfie segmentation network where the mask method needs it.
    """

    parameters: IngestParameters
    masks: MaskConfig
    """As the job has it; the parameters leave out where a checkpoint lies."""
    limits: DecodeLimits
    """What the decoding of one video may take."""
    session: str
    """Names this run of ingest in the attempt journals."""
    max_attempts: int
    num_threads: int
    selfie_model: Path | None
    sam_model: PromptableModel | None = None
    """Segment Anything as it runs elsewhere; None: where the method needs it, in the worker itself."""


def ingest_take(item: PlannedTake, settings: TakeSettings, *, advance: Callable[[Tally], None]) -> commit.CommitRecord:
    """Ingest a take and commit it in its folder; a committed take is left as it is.

    Args:
        item: The take.
        settings: How to ingest it.
        advance: Called with what was done since the last call.

    Returns:
        The record, now on disk. A take that cannot be ingested, or that has killed its process ``max_attempts``
        times in a session, is recorded without rows and with the reason.
    """
    take, folder, content = item.take, item.folder, item.content
    record = commit.read_record(folder, content)
    if record and commit.has_part(folder, record):
        return record
    deaths, deaths_in_all = commit.num_deaths(folder, content, settings.session), commit.num_deaths(folder, content)
    with commit.attempt(folder, content, settings.session):
        if deaths >= settings.max_attempts or deaths_in_all >= _MOST_DEATHS:
            crashed = (
                f"killed its worker {deaths_in_all} times; delete work/{folder.parent.name}/{take.take_id} to retry"
            )
            rows, rejects = iter(()), [Reject(take_id=take.take_id, reason="crashed", detail=crashed)]
        else:
            rejects = list[Reject]()
            rows = _rows(item, settings, rejects, advance)
        instants, rejects = _write_part(commit.part_path(folder), rows, take, rejects)
        record = commit.CommitRecord(
            take_id=take.take_id,
            content=content,
            sha256=file_sha256(commit.part_path(folder)),
            instants=tuple(instants),
            rejects=tuple(rejects),
        )
        commit.write_record(folder, record)
    return record


def _write_part(path: Path, rows: Iterator[Row], take: Take, rejects: list[Reject]) -> tuple[list[int], list[Reject]]:
    """Stream the rows to the part; a bad take gives an empty one and the reason alone."""
    instants: list[int] = []

    def noted() -> Iterator[Row]:
        for row in rows:
            instants.append(row["instant"])
            yield row

    try:
        write_rows(path, noted())
    except BadTakeError as error:
        write_rows(path, ())
        return [], [Reject(take_id=take.take_id, reason=error.reason, detail=str(error))]
    if not instants and not any(reject.instant is None for reject in rejects):
        rejects = [*rejects, Reject(take_id=take.take_id, reason="no_instants", detail="no instant has a usable view")]
    return instants, rejects


def _rows(
    item: PlannedTake, settings: TakeSettings, rejects: list[Reject], advance: Callable[[Tally], None]
) -> Iterator[Row]:
    """The rows of a take in order. Views run side by side, one instant at a time; ``rejects`` grows in order."""
    take = item.take
    cv2.setNumThreads(1)  # parallelism is over takes and views
    num_threads = max(1, min(settings.num_threads, len(take.clips)))
    with ExitStack() as opened, ThreadPoolExecutor(max_workers=num_threads) as threads:
        sources = [opened.enter_context(open_clip(clip, settings.limits)) for clip in take.clips]
        infos = [source.info for source in sources]
        _check_synchronised(take, infos)
        instants = sampled_frames(settings.parameters.sampling, infos[0].times_s)
        _check_disk(item.folder, len(take.clips) * len(instants), settings.parameters.crop)
        advance(Tally(planned=len(instants)))
        views = _open_views(take, sources, instants, settings, threads)
        for instant in instants:
            found: list[Row | str] = list(threads.map(lambda view: next(view), views))
            rejects += [
                Reject(take_id=take.take_id, instant=instant, view=clip.view, reason=outcome)
                for clip, outcome in zip(take.clips, found, strict=True)
                if isinstance(outcome, str)
            ]
            rows = [outcome for outcome in found if not isinstance(outcome, str)]
            if rows:
                timestamp_s = float(infos[0].times_s[instant])
                yield frame_set_row(take.take_id, instant, timestamp_s=timestamp_s, views=rows)
            else:
                rejects.append(Reject(take_id=take.take_id, instant=instant, reason="no_views"))
            advance(Tally(instants=1, accepted=len(rows), rejected=len(found) - len(rows)))


def _check_disk(folder: Path, num_views: int, crop: CropConfig) -> None:
    """Before hours of work: parts and shards stand side by side for a while."""
    needed = 2 * num_views * crop.size_px**2 * _BYTES_PER_PIXEL
    free = shutil.disk_usage(folder).free
    if needed > free:
        message = f"{num_views} views need about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"
        raise OSError(errno.ENOSPC, message)


def _open_views(
    take: Take, sources: Sequence[ClipSource], instants: Sequence[int], settings: TakeSettings, threads: Executor
) -> list[Iterator[Row | str]]:
    maskers = threads.map(lambda source: _masker(source, instants, settings), sources)
    views = zip(take.clips, sources, maskers, strict=True)
    return [_view_outcomes(clip, source, masker, instants, settings.parameters) for clip, source, masker in views]


def _masker(source: ClipSource, instants: Sequence[int], settings: TakeSettings) -> ViewMasker:
    """The mask method for one view, given what it needs of the take."""
    masks = settings.masks
    method = masks.seed if isinstance(masks, SamMasks) else masks
    return create_view_masker(
        masks,
        selfie_model=settings.selfie_model,
        sam_model=settings.sam_model,
        sample_frames=lambda num: source.sample(num, frames=instants),
        background=source.background() if isinstance(method, BackgroundMasks) else None,
        provided=source.masks(instants) if isinstance(method, ProvidedMasks) else None,
    )


def _persons(masker: ViewMasker, frames: Iterable[tuple[int, Image | None]]) -> Iterator[PersonMask | None]:
    """The person of each frame in order; Segment Anything reads a batch ahead."""
    if isinstance(masker, SamMasker):
        return masker.masks(frames)
    return (None if image is None else masker(image, frame) for frame, image in frames)


def _view_outcomes(
    clip: Clip, source: ClipSource, masker: ViewMasker, instants: Sequence[int], parameters: IngestParameters
) -> Iterator[Row | str]:
    """For each instant the view's row, or the reason why there is none."""
    frames, ahead = itertools.tee(source.frames(instants))  # holds what a batch of the masker is ahead
    for (_, image), person in zip(frames, _persons(masker, ahead), strict=True):
        if image is None:
            yield "undecodable"
            continue
        yield view_row(
            clip,
            image,
            person=person,
            mask_source=type(parameters.masks).__name__,
            mask_quality=parameters.mask_quality,
            crop=parameters.crop,
        )


def _check_synchronised(take: Take, infos: Sequence[VideoInfo]) -> None:
    """Frame k of all cameras must be of one instant: equal lengths, and rates that never drift half a frame."""
    first = infos[0]
    for clip, info in zip(take.clips, infos, strict=True):
        if abs(info.frames_per_s - first.frames_per_s) * first.num_frames > first.frames_per_s / 2:
            raise BadTakeError(
                "mismatched_frame_rate",
                f"view {take.clips[0].view} has {float(first.frames_per_s):g} frames per second, "
                f"view {clip.view} has {float(info.frames_per_s):g}",
            )
        if info.num_frames != first.num_frames:
            raise BadTakeError(
                "mismatched_length",
                f"view {take.clips[0].view} has {first.num_frames} frames, view {clip.view} has {info.num_frames}",
            )
