"""The rows of one take: its frames chosen, masked, judged and cut, shot by shot, all views side by side."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import pyarrow.fs as pafs

from mas_ray.config.ingest import BackgroundMasks, CurationConfig, DecodeLimits, MaskConfig, ProvidedMasks, seed_of
from mas_ray.corpora.take import Clip, Take
from mas_ray.ingest.curation import clip_score
from mas_ray.ingest.curation.clip_score import ClipScore, FrameScore, score_clip
from mas_ray.ingest.curation.frame_look import sharpness
from mas_ray.ingest.curation.mask_stability import Judged, MaskShape, judge_stability
from mas_ray.ingest.curation.survey import ClipSurvey, survey_clip
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
from mas_ray.shards.location import RemotePath
from mas_ray.shards.manifest import IngestParameters
from mas_ray.shards.reject_samples import RejectSampler

_SURVEY_PX = 96
_SAMPLES_PER_REASON = 3


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
    work: RemotePath | None = None
    """Where the takes' folders are, each by the id of its take; None: on disks that every machine sees."""
    corpus: pafs.FileSystem | None = None
    """Where the takes' files are; None: on disks that every machine sees."""
    sam_model: PromptableModel | None = None
    """Segment Anything as it runs elsewhere; None: where the method needs it, in the worker itself."""


@dataclass(kw_only=True)
class Findings:
    """What there is to say of a take beside its rows; complete when these have been read to their end."""

    samples: RejectSampler
    rejects: list[Reject] = field(default_factory=list[Reject])
    movement: str = ""
    """Of a single view, to recognise its copies by (``curation.movement``)."""
    score: ClipScore | None = None
    """Of a single view."""

    @classmethod
    def of(cls, take: Take) -> Findings:
        """Nothing found yet."""
        return cls(samples=RejectSampler(take.take_id, per_reason=_SAMPLES_PER_REASON))


def take_rows(
    take: Take,
    settings: TakeSettings,
    findings: Findings,
    *,
    advance: Callable[[Tally], None],
    begin: Callable[[int], None],
) -> Iterator[Row]:
    """The rows of a take in order; one instant of all views is held at a time.

    Args:
        take: The take.
        settings: How to ingest it.
        findings: Grows on the way, in the order of the instants.
        advance: Called with what was done since the last call.
        begin: Called once, before anything is masked, with the number of views at most to come.

    Raises:
        BadTakeError: The take cannot be ingested at all.
        OSError: The machine's fault, not the take's.
    """
    cv2.setNumThreads(1)  # parallelism is over takes and views
    # Cameras that film together are cut together, and are compared with each other, not in time.
    curation = settings.parameters.curation if len(take.clips) == 1 else None
    num_threads = max(1, min(settings.num_threads, len(take.clips)))
    with ExitStack() as opened, ThreadPoolExecutor(max_workers=num_threads) as threads:
        sources = [opened.enter_context(open_clip(clip, settings.limits)) for clip in take.clips]
        infos = [source.info for source in sources]
        _check_synchronised(take, infos)
        num_frames = min(info.num_frames for info in infos)
        kept = infos[0].times_s[take.skip_ends : num_frames - take.skip_ends]
        instants = [take.skip_ends + n for n in sampled_frames(settings.parameters.sampling, kept)]
        advance(Tally(planned=len(instants)))
        begin(len(instants) * len(sources))
        shots: Sequence[Sequence[int]] = (instants,)
        if curation is not None:
            survey = _survey(sources[0], instants, curation)
            findings.movement = survey.movement
            _note_survey(take, instants, survey, findings, advance)
            shots = survey.shots
        scores: list[FrameScore] = []
        for shot, of_shot in enumerate(shots):
            views = _open_views(take, sources, of_shot, settings, curation, findings.samples, threads)
            for instant in of_shot:
                found = list(threads.map(lambda view: next(view), views))
                rows = [outcome.row for outcome in found if outcome.row is not None]
                scores += [outcome.score for outcome in found if outcome.score is not None]
                _note_rejects(take, instant, [outcome.reason for outcome in found], findings)
                if rows:
                    timestamp_s = float(infos[0].times_s[instant])
                    yield frame_set_row(take.take_id, instant, shot=shot, timestamp_s=timestamp_s, views=rows)
                advance(Tally(instants=1, accepted=len(rows), rejected=len(found) - len(rows)))
        if curation is not None:
            findings.score = score_clip(len(instants), scores)
            if scores and (reason := clip_score.reject_reason(findings.score, curation)):
                raise BadTakeError(reason, f"{len(scores)} good frames; expected at least {curation.min_frames}")


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What became of one view of one instant: a row, or the reason why there is none."""

    row: Row | None = None
    reason: str | None = None
    score: FrameScore | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Masked:
    """A frame with its person, and the row or the reason that its mask gave."""

    frame: int
    image: Image | None
    person: PersonMask | None
    outcome: Row | str


def _survey(source: ClipSource, instants: Sequence[int], curation: CurationConfig) -> ClipSurvey:
    num_frames = source.info.num_frames
    frames = source.small_frames(range(num_frames), size_px=_SURVEY_PX)
    decoded = ((number, image) for number, image in frames if image is not None)
    survey = survey_clip(decoded, instants, num_frames=num_frames, config=curation)
    if survey.verdict is not None:
        counts = ", ".join(f"{list(survey.reasons.values()).count(r)} {r}" for r in sorted({*survey.reasons.values()}))
        raise BadTakeError(survey.verdict, f"of {len(instants)} frames {counts or 'none decodes'}")
    return survey


def _note_survey(
    take: Take, instants: Sequence[int], survey: ClipSurvey, findings: Findings, advance: Callable[[Tally], None]
) -> None:
    """The instants that are not worth masking."""
    worthy = {frame for shot in survey.shots for frame in shot}
    for instant in instants:
        if instant not in worthy:
            _note_rejects(take, instant, [survey.reasons.get(instant, "undecodable")], findings)
            advance(Tally(instants=1, rejected=1))


def _note_rejects(take: Take, instant: int, reasons: Sequence[str | None], findings: Findings) -> None:
    """The views of an instant that are left out, and the instant if all are."""
    findings.rejects += [
        Reject(take_id=take.take_id, instant=instant, view=clip.view, reason=reason)
        for clip, reason in zip(take.clips, reasons, strict=True)
        if reason is not None
    ]
    if None not in reasons:
        findings.rejects.append(Reject(take_id=take.take_id, instant=instant, reason="no_views"))


def _open_views(
    take: Take,
    sources: Sequence[ClipSource],
    instants: Sequence[int],
    settings: TakeSettings,
    curation: CurationConfig | None,
    samples: RejectSampler,
    threads: Executor,
) -> list[Iterator[_Outcome]]:
    """One stream of outcomes per view; each view's mask method starts afresh."""
    maskers = list(threads.map(lambda source: _masker(source, instants, settings), sources))
    return [
        _outcomes(clip, _masked(clip, source, masker, instants, settings.parameters), curation, samples)
        for clip, source, masker in zip(take.clips, sources, maskers, strict=True)
    ]


def _masker(source: ClipSource, instants: Sequence[int], settings: TakeSettings) -> ViewMasker:
    """The mask method for one view, given what it needs of the take."""
    method = seed_of(settings.masks)
    return create_view_masker(
        settings.masks,
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


def _masked(
    clip: Clip, source: ClipSource, masker: ViewMasker, instants: Sequence[int], parameters: IngestParameters
) -> Iterator[_Masked]:
    """Each instant of a view with its mask, and what that mask is good for by itself."""
    frames, ahead = itertools.tee(source.frames(instants))  # holds what a batch of the masker is ahead
    for (frame, image), person in zip(frames, _persons(masker, ahead), strict=True):
        outcome: Row | str = "undecodable"
        if image is not None:
            outcome = view_row(
                clip,
                image,
                person=person,
                mask_source=type(parameters.masks).__name__,
                mask_quality=parameters.mask_quality,
                crop=parameters.crop,
            )
        yield _Masked(frame=frame, image=image, person=person, outcome=outcome)


def _judged(masked: Iterator[_Masked], curation: CurationConfig | None) -> Iterator[Judged[_Masked]]:
    """Each mask compared with its neighbours in time, if there is curation."""
    if curation is None:
        return (Judged(item=item, overlap=None, is_stable=True) for item in masked)
    with_shapes = (
        (item, MaskShape.of(item.person.mask) if item.person and not isinstance(item.outcome, str) else None)
        for item in masked
    )
    return judge_stability(with_shapes, curation)


def _outcomes(
    clip: Clip, masked: Iterator[_Masked], curation: CurationConfig | None, samples: RejectSampler
) -> Iterator[_Outcome]:
    """What becomes of each instant of a view."""
    for judged in _judged(masked, curation):
        item, outcome = judged.item, judged.item.outcome if judged.is_stable else "unstable_mask"
        if not isinstance(outcome, str):
            yield _Outcome(row=outcome, score=_score(item, judged.overlap))
            continue
        if item.image is not None:
            mask = item.person.mask if item.person else None
            samples.add(outcome, item.image, mask=mask, instant=item.frame, view=clip.view)
        yield _Outcome(reason=outcome)


def _score(item: _Masked, overlap: float | None) -> FrameScore | None:
    if item.image is None or item.person is None:
        return None
    mask = item.person.mask
    return FrameScore(
        overlap=overlap, sharpness=sharpness(item.image, mask), area_fraction=float(mask.sum()) / mask.size
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
        if info.num_frames != first.num_frames and not take.ends_differ:
            raise BadTakeError(
                "mismatched_length",
                f"view {take.clips[0].view} has {first.num_frames} frames, view {clip.view} has {info.num_frames}",
            )
