"""ingest: a corpus of video becomes a dataset, one take at a time, killable at any moment.

Workers commit takes (``ingest.commit``); the driver then lays their rows out in shards and writes the manifest
last. What is already committed, or in an intact shard, is never done again; whoever asks for what is there already
gets it without a video or a shard being read.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from mas_ray import assets
from mas_ray.annotations import write_reference
from mas_ray.annotations.official import read_official
from mas_ray.config.ingest import MaskConfig, ProvidedMasks, SamMasks, SelfieMasks, seed_of
from mas_ray.config.jobs import IngestJob
from mas_ray.corpora.layout import RejectedSource
from mas_ray.corpora.take import Take
from mas_ray.ingest import commit
from mas_ray.ingest.corpus import Corpus, open_corpus
from mas_ray.ingest.curation.copies import exact_copies
from mas_ray.ingest.fingerprint import Fingerprints
from mas_ray.ingest.masks.sam_checkpoint import local_checkpoint
from mas_ray.ingest.rejects import BadTakeError, Reject, copy_reject
from mas_ray.ingest.take_work import PlannedTake, TakeSettings
from mas_ray.pipelines import session
from mas_ray.pipelines.assemble import Content, assemble
from mas_ray.pipelines.dataset_lock import locked, work_folder
from mas_ray.pipelines.existing_dataset import ExistingDataset, is_finished, mark_finished
from mas_ray.pipelines.ingest_tracking import failure_tracked, track_dataset, tracked
from mas_ray.pipelines.ingest_workers import ingest_on_ray
from mas_ray.pipelines.progress import note
from mas_ray.pipelines.sam_pool import PooledSam, sam_pool
from mas_ray.shards.location import Location, location
from mas_ray.shards.manifest import IngestParameters, Manifest


def ingest(job: IngestJob) -> Manifest:
    """Ingest a corpus.

    ``<output>`` then holds ``manifest.json``, ``shards/``, ``rejects.jsonl``, ``job.json`` and ``work/`` with the
    commit records. Equal corpora and jobs give equal manifests, byte for byte, however often they were killed. A corpus
    or a job that changed since the last ingest gives the manifest's next version; the shards of the ones before stay.

    Raises:
        ValueError: The corpus, a folder, a split or a resource is not as the job needs it, or too many takes yield
            nothing. Whatever was committed stays, so the next run goes on from there.
    """
    output = location(job.output)
    _check_folders(job)
    work = work_folder(output, job.work)
    with locked(work, output) as kept, Fingerprints(kept.path / "fingerprints.jsonl") as fingerprints:
        corpus = open_corpus(location(job.root), job.corpus, fingerprints)
        sources = _wanted(corpus.sources(), job.actions)
        takes = [source for source in sources if isinstance(source, Take)]
        left_out = [_unlisted(source) for source in sources if isinstance(source, RejectedSource)]
        _check_masks(job, takes)
        _note_uncalibrated(takes)
        _copy_references(job, corpus, takes)
        parameters = IngestParameters(
            masks=_without_place(job.masks),
            mask_quality=job.mask_quality,
            crop=job.crop,
            sampling=job.sampling,
            curation=job.curation,
        )
        key = commit.parameters_key(parameters, _mask_model_sha256(job))
        planned, set_aside = _planned(corpus, takes, kept.path.absolute() / key)
        old = ExistingDataset.open(output, kept.path, fingerprints)
        if job.curation is not None:
            copies = exact_copies({item.take.take_id: item.footage for item in planned}, old.take_ids(key))
            left_out += [copy_reject(take_id, kept, "duplicate") for take_id, kept in copies.items()]
            planned = [item for item in planned if item.take.take_id not in copies]
        if old.manifest and not set_aside and is_finished(job, key, planned, left_out, old):
            note(f"ingest: {output / 'manifest.json'} is complete, nothing to do")
            return old.manifest
        todo = [item for item in planned if not _has_rows(item, old, fingerprints)]
        if todo:
            settings = replace(
                _settings(job, parameters), corpus=corpus.filesystem, work=kept.store and kept.store / key
            )
            try:
                with (
                    tracked(job, num_instants_before=_num_committed(planned)) as watch,
                    session.connect(),
                    _sam(job) as sam_model,
                ):
                    ingest_on_ray(
                        todo,
                        replace(settings, sam_model=sam_model),
                        job.workers,
                        most_empty=int(job.max_reject_fraction * len(sources)) - len(left_out) - len(set_aside),
                        watch=watch,
                    )
            except KeyboardInterrupt:
                kept.pull(lambda name: name.endswith("/attempts"))
                for item in todo:  # the workers are gone by now: what they had begun was ended from outside
                    commit.forget_attempt(item.folder, settings.session)
                raise
            kept.pull()  # what the workers have handed over
        set_aside += _discard_changed(corpus, todo)
        changed = {reject.take_id for reject in set_aside}
        content = Content(
            key=key,
            parameters=parameters,
            mask_model_sha256=_mask_model_sha256(job),
            planned=[item for item in planned if item.take.take_id not in changed],
            left_out=[*left_out, *set_aside],
        )
        with failure_tracked(job):
            manifest = assemble(job, content, old, fingerprints)
        kept.push()  # that the parts are no longer needed
        if todo or manifest != old.manifest:
            track_dataset(job, manifest)
        else:
            note(f"ingest: {output / 'manifest.json'} is complete, nothing to do")
        if not set_aside:
            mark_finished(job, key, planned, left_out, kept.path)
        return manifest


def _check_folders(job: IngestJob) -> None:
    """What is read and what is written lie apart."""
    if _is_within(job.output, job.root):
        raise ValueError(f"output: {job.output} lies inside the corpus {job.root}; expected a folder outside it")
    if _is_within(job.root, job.output):
        raise ValueError(f"root: {job.root} lies inside the dataset {job.output}; expected a folder outside it")
    if job.work is not None and _is_within(job.work, job.root):
        raise ValueError(f"work: {job.work} lies inside the corpus {job.root}; expected a folder outside it")
    if job.work is not None and _is_within(job.root, job.work):
        raise ValueError(f"root: {job.root} lies inside the work folder {job.work}; expected a folder outside it")
    if job.work is not None and _is_within(job.output, job.work):
        raise ValueError(f"output: {job.output} lies inside the work folder {job.work}; expected a folder outside it")
    if job.annotations is None:
        return
    if "://" in job.annotations:
        raise ValueError(f"annotations: expected a folder on a disk, got {job.annotations}")
    if _is_within(job.annotations, job.output) or _is_within(job.output, job.annotations):
        raise ValueError(
            f"annotations: {job.annotations} and the dataset {job.output} lie inside one another; "
            "expected separate folders, so that nothing that trains can reach reference joints"
        )
    if _is_within(job.annotations, job.root):
        raise ValueError(
            f"annotations: {job.annotations} lies inside the corpus {job.root}; expected a folder outside it"
        )


def _is_within(address: str, folder: str) -> bool:
    inner, outer = location(address), location(folder)
    if isinstance(inner, Path) and isinstance(outer, Path):
        return inner.resolve().is_relative_to(outer.resolve())
    return _names(inner)[: len(_names(outer))] == _names(outer)


def _names(place: Location) -> list[str]:
    """What leads to a place in a store; how its server is asked does not count."""
    parts = urlsplit(str(place))
    return [parts.scheme, parts.netloc, *(name for name in parts.path.split("/") if name)]


def _settings(job: IngestJob, parameters: IngestParameters) -> TakeSettings:
    """What the takes share, wherever they are; fetches the mask method's network where it needs one."""
    network = assets.SELFIE_SEGMENTATION
    if isinstance(job.masks, SamMasks):
        local_checkpoint(job.masks)  # what is wrong with it is said before Ray starts
    return TakeSettings(
        parameters=parameters,
        masks=job.masks,
        limits=job.decode,
        session=uuid.uuid4().hex,
        max_attempts=job.max_attempts,
        num_threads=int(job.workers.cpus_each),
        selfie_model=assets.fetch(network) / network.members[0].name if _needs_selfie_model(job.masks) else None,
    )


@contextmanager
def _sam(job: IngestJob) -> Generator[PooledSam | None]:
    """The pool of the job's mask method, if it has one, once the cluster is known to hold it beside the workers."""
    pool = job.sam_workers if isinstance(job.masks, SamMasks) else None
    session.require(job.workers, "ingest", beside=pool)
    if pool is None or not isinstance(job.masks, SamMasks):
        yield None
        return
    with sam_pool(job.masks, pool) as model:
        yield model


def _without_place(masks: MaskConfig) -> MaskConfig:
    """The method without where its checkpoint lies: its hash says which it is."""
    return replace(masks, checkpoint="") if isinstance(masks, SamMasks) else masks


def _mask_model_sha256(job: IngestJob) -> str | None:
    """Of the network that is no part of the job's parameters."""
    return assets.SELFIE_SEGMENTATION.members[0].sha256 if _needs_selfie_model(job.masks) else None


def _needs_selfie_model(masks: MaskConfig) -> bool:
    return isinstance(seed_of(masks), SelfieMasks)


def _wanted(sources: Iterable[Take | RejectedSource], actions: Sequence[str]) -> list[Take | RejectedSource]:
    """The sources of some actions; of what was rejected nobody can tell.

    Raises:
        ValueError: No take is of one of them.
    """
    sources = list(sources)
    present = {source.action for source in sources if isinstance(source, Take)}
    if missing := sorted(set(actions) - present):
        raise ValueError(f"actions: no take is of {', '.join(missing)}; there are {', '.join(sorted(present)[:20])}")
    return [each for each in sources if not actions or isinstance(each, RejectedSource) or each.action in actions]


def _unlisted(source: RejectedSource) -> Reject:
    return Reject(take_id=source.take_id, reason=source.reason, detail=source.detail)


def _check_masks(job: IngestJob, takes: list[Take]) -> None:
    """Some takes of a plain folder may lack masks and are rejects; a release is handed out with masks or without."""
    if not isinstance(seed_of(job.masks), ProvidedMasks):
        return
    bare = [take.take_id for take in takes if any(clip.masks is None for clip in take.clips)]
    if bare and (job.corpus != "folder" or len(bare) == len(takes)):
        raise ValueError(
            f"masks: {len(bare)} takes of {job.root} provide none, such as {bare[0]}; choose another method"
        )


def _note_uncalibrated(takes: list[Take]) -> None:
    """Several views and no calibration is allowed, and easily a slip: nothing will be triangulated."""
    for take in takes:
        if len(take.clips) > 1 and all(clip.calibration is None for clip in take.clips):
            note(f"ingest: take {take.take_id} has {len(take.clips)} views and no calibration: nothing is triangulated")


def _copy_references(job: IngestJob, corpus: Corpus, takes: list[Take]) -> None:
    if job.annotations is None:
        return
    for take in takes:
        if take.reference is not None:
            with corpus.local_file(take.reference) as file:
                reference = replace(read_official(file), fault=take.reference_fault)
                write_reference(Path(job.annotations) / f"{take.take_id}.parquet", reference)


def _planned(corpus: Corpus, takes: list[Take], work: Path) -> tuple[list[PlannedTake], list[Reject]]:
    """The takes with what they are made of, and those whose files cannot be read as they are now."""
    planned: list[PlannedTake] = []
    set_aside: list[Reject] = []
    for take, found in zip(takes, corpus.identities(takes), strict=True):
        if isinstance(found, BadTakeError):
            set_aside.append(Reject(take_id=take.take_id, reason=found.reason, detail=str(found)))
        else:
            folder, take = work / take.take_id, replace(take, reference=None)
            planned.append(PlannedTake(take=take, folder=folder, content=found.content, footage=found.footage))
    return planned, set_aside


def _discard_changed(corpus: Corpus, done: list[PlannedTake]) -> list[Reject]:
    """Of the takes just ingested, those whose files are no longer what the plan saw: nobody knows what was decoded."""
    rejects: list[Reject] = []
    for item in done:
        error = corpus.change(item.take)
        if error is not None:
            commit.discard(item.folder)
            rejects.append(Reject(take_id=item.take.take_id, reason=error.reason, detail=str(error)))
    return rejects


def _has_rows(item: PlannedTake, old: ExistingDataset, fingerprints: Fingerprints) -> bool:
    """Whether a take is committed and its rows are at hand."""
    record = commit.read_record(item.folder, item.content)
    if record is None:
        return False
    return not record.instants or old.holds(record) or commit.has_part(item.folder, record, fingerprints.sha256)


def _num_committed(planned: list[PlannedTake]) -> int:
    """How many instants earlier sessions committed."""
    records = [commit.read_record(item.folder, item.content) for item in planned]
    return sum(len(record.instants) for record in records if record)
