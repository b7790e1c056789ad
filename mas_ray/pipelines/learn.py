"""learn: how well the method learns from random weights without a label; each phase the function of its own verb."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.ingest import MaskQualityConfig, ProvidedMasks
from mas_ray.config.jobs import EvaluateJob, IngestJob, LearnJob, TrainJob
from mas_ray.corpora.synthetic.config import LEARNING_SPLIT, SyntheticConfig, learning_corpus, single_view_corpus
from mas_ray.corpora.synthetic.recording import write_corpus
from mas_ray.evaluation.bars import BARS, BarOutcome
from mas_ray.evaluation.left_right import HANDLINGS, Handling
from mas_ray.evaluation.record import Evaluation, EvaluationSource
from mas_ray.evaluation.summary import Summary, summarise
from mas_ray.geometry.chirality import KneeChirality
from mas_ray.pipelines.evaluate import evaluate
from mas_ray.pipelines.ingest import ingest
from mas_ray.pipelines.progress import progress
from mas_ray.pipelines.run_folder import CascadeResult
from mas_ray.pipelines.train import train
from mas_ray.shards.write import write_text

FORMAT = "mas-ray learn 1"


@dataclass(frozen=True, kw_only=True)
class HandledSummary:
    """The figures under one handling of left and right."""

    handling: Handling
    figures: Summary


@dataclass(frozen=True, kw_only=True)
class StageMeasurement:
    """A stage's chosen checkpoint on the test split."""

    stage: str
    source: EvaluationSource
    ambiguity_ratio: float | None
    knee_chirality: KneeChirality | None
    """Over takes, whose frames are not independent."""
    under: tuple[HandledSummary, ...]
    """One per handling of left and right. ``raw`` holds the bit that the checkpoint carries."""


@dataclass(frozen=True, kw_only=True)
class SeedMeasurement:
    """A training run."""

    seed: int
    training_s: float | None
    """Wall-clock seconds of training, over all its attempts; None if a part of it was not timed."""
    stages: tuple[StageMeasurement, ...]
    bars: tuple[BarOutcome, ...]
    """Of the last stage; none for the hard front cue."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure of the last stage over all seeds that have it."""

    handling: Handling | None
    """None for what is taken before any handling."""
    figure: str
    mean: float
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class Learning:
    """The record of a measurement; ``learn.json`` is its JSON form."""

    format: str
    job: LearnJob
    seeds: tuple[SeedMeasurement, ...]
    spread: tuple[Spread, ...]
    """Empty with a single seed."""


@dataclass(frozen=True, kw_only=True)
class TrainingTime:
    """How long a training took so far; ``seed<k>/training_time.json`` is its JSON form."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class LearningDataset:
    """The learning corpus, ingested."""

    manifest: Path
    annotations: Path


def learn(job: LearnJob) -> Learning:
    """Train and evaluate, seed by seed; what is finished below ``<output>/<front_cue>`` is reused.

    That folder then holds ``corpus/``, ``dataset/``, ``annotations/``, ``runs/seed<k>/``,
    ``seed<k>/<stage>/evaluation.json``, ``seed<k>/training_time.json`` and ``learn.json``.

    Raises:
        ValueError: A phase found something amiss; see each phase.
        StageFailedError: Training failed.
    """
    dataset = learning_dataset(job)
    seeds = tuple(_measure(job, seed, dataset) for seed in job.seeds)
    learning = Learning(format=FORMAT, job=job, seeds=seeds, spread=_spread(seeds) if len(seeds) > 1 else ())
    write_text(_folder(job) / "learn.json", codec.dumps(learning))
    return learning


def learning_dataset(job: LearnJob) -> LearningDataset:
    """Write the learning corpus and ingest it, as far as that is not done."""
    folder = _folder(job)
    manifest, annotations = folder / "dataset" / "manifest.json", folder / "annotations"
    _write_and_ingest(
        learning_corpus(job.front_cue),
        folder / "corpus",
        job,
        IngestJob(
            root=str(folder / "corpus"),
            output=str(manifest.parent),
            annotations=str(annotations),
            split=LEARNING_SPLIT,
        ),
    )
    return LearningDataset(manifest=manifest, annotations=annotations)


def single_view_dataset(job: LearnJob) -> Path:
    """``manifest.json`` of single views of other people; written and ingested as far as that is not done."""
    folder = _folder(job)
    manifest = folder / "single-views" / "manifest.json"
    _write_and_ingest(
        single_view_corpus(job.front_cue),
        folder / "single-view-corpus",
        job,
        IngestJob(root=str(folder / "single-view-corpus"), output=str(manifest.parent), curation=None),
    )
    return manifest


def _write_and_ingest(config: SyntheticConfig, corpus: Path, job: LearnJob, ingest_job: IngestJob) -> None:
    takes = config.num_subjects * config.takes_per_subject
    with progress(f"synthetic {corpus.name}, {job.front_cue} front cue", takes, "takes") as advance:
        write_corpus(corpus, config, progress=lambda done, of: advance(1))
    ingest(
        replace(
            ingest_job,
            masks=ProvidedMasks(),
            mask_quality=MaskQualityConfig(max_border_contact=1.0),  # exact masks, a foot on the border or not
            workers=replace(job.workers, gpus_each=0.0),
        )
    )


def _folder(job: LearnJob) -> Path:
    return Path(job.output) / job.front_cue


def _measure(job: LearnJob, seed: int, dataset: LearningDataset) -> SeedMeasurement:
    name, folder = f"seed{seed}", _folder(job)
    trained, training_s = _train_timed(
        TrainJob(
            manifest=str(dataset.manifest),
            storage=str(folder / "runs"),
            name=name,
            cascade=replace(cpu_cascade(), seed=seed),
            workers=job.workers,
        ),
        folder / name / "training_time.json",
    )
    evaluations = {
        stage.stage: evaluate(
            EvaluateJob(
                checkpoint=str(folder / "runs" / name / stage.checkpoint),
                manifest=str(dataset.manifest),
                annotations=str(dataset.annotations),
                output=str(folder / name / stage.stage),
            )
        )
        for stage in trained.stages
    }
    last = evaluations[trained.stages[-1].stage]
    return SeedMeasurement(
        seed=seed,
        training_s=training_s,
        stages=tuple(_stage(stage, evaluation) for stage, evaluation in evaluations.items()),
        bars=tuple(bar.outcome(last) for bar in BARS) if job.front_cue == "easy" else (),
    )


def _train_timed(job: TrainJob, path: Path) -> tuple[CascadeResult, float | None]:
    """Train, and add what it takes to the seconds in a file; what was trained without one has no time."""
    run = Path(job.storage) / job.name
    timed = path.is_file() or not run.exists()
    before_s = codec.loads(TrainingTime, path.read_text(), str(path)).seconds if path.is_file() else 0.0
    if not timed or (run / "cascade.json").is_file():
        return train(job), before_s if timed else None
    start = time.monotonic()
    try:
        trained = train(job)
    finally:
        seconds = before_s + time.monotonic() - start
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, codec.dumps(TrainingTime(seconds=seconds)))
    return trained, seconds


def _stage(stage: str, evaluation: Evaluation) -> StageMeasurement:
    return StageMeasurement(
        stage=stage,
        source=evaluation.source,
        ambiguity_ratio=evaluation.ambiguity_ratio,
        knee_chirality=evaluation.knee_chirality_of_takes,
        under=tuple(HandledSummary(handling=name, figures=summarise(evaluation, name)) for name in HANDLINGS),
    )


def _spread(seeds: Sequence[SeedMeasurement]) -> tuple[Spread, ...]:
    """Mean and extremes of every figure of the last stage."""
    last = [seed.stages[-1] for seed in seeds]
    columns: list[tuple[Handling | None, str, list[float | None]]] = [
        (handling, field.name, [getattr(stage.under[index].figures, field.name) for stage in last])
        for index, handling in enumerate(HANDLINGS)
        for field in fields(Summary)
    ]
    columns.append((None, "ambiguity_ratio", [stage.ambiguity_ratio for stage in last]))
    bends = [stage.knee_chirality and stage.knee_chirality.mean_mm for stage in last]
    columns.append((None, "knee_chirality_mm", bends))
    return tuple(
        Spread(
            handling=handling,
            figure=figure,
            mean=statistics.fmean(known),
            lowest=min(known),
            highest=max(known),
        )
        for handling, figure, values in columns
        if (known := _known(values))
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
