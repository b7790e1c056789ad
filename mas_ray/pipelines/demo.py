"""demo: the main job on a sample corpus, each phase the same function that its own verb runs."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mas_ray.checkpoint import PACKAGED
from mas_ray.config.cascade import CascadeConfig, cpu_cascade, mixed_view_finetune
from mas_ray.config.ingest import BackgroundMasks, MaskConfig, SelfieMasks, SplitBySubject, SplitByTail, SplitConfig
from mas_ray.config.jobs import DemoJob, EvaluateJob, IngestJob, PredictJob, ReportJob, TrainJob, Workers
from mas_ray.config.stage import TeacherConfig
from mas_ray.corpora.balancing import write_balancing
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import write_corpus
from mas_ray.evaluation.record import Evaluation
from mas_ray.pipelines.evaluate import evaluate
from mas_ray.pipelines.ingest import ingest
from mas_ray.pipelines.predict import predict
from mas_ray.pipelines.progress import note, progress
from mas_ray.pipelines.report import report
from mas_ray.pipelines.train import train

_FROM_SCRATCH, _FINETUNED = "cascade", "finetune"


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """Where things are, and how long each phase took."""

    report: Path
    overlays: tuple[Path, ...]
    tracking_uri: str
    evaluation: Evaluation
    seconds: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What a sample corpus needs of the phases."""

    masks: MaskConfig
    split: SplitConfig


def demo(job: DemoJob) -> DemoResult:
    """Run all phases below ``<output>/<corpus>``; what is finished there is reused.

    The results of a run from scratch are in ``from-scratch`` there, beside those of fine-tuning.

    Raises:
        OSError: The sample video is neither cached nor to be had from the package index.
        ValueError: A phase found something amiss; see each phase.
    """
    folder = Path(job.output) / job.corpus
    run_name = _FROM_SCRATCH if job.from_scratch else _FINETUNED
    results = folder / "from-scratch" if job.from_scratch else folder
    plan = _plan(job)
    seconds: dict[str, float] = {}
    manifest, annotations = folder / "dataset" / "manifest.json", folder / "annotations"
    with _phase("sample", seconds):
        _write_sample(job, folder / "corpus")
    with _phase("ingest", seconds):
        ingest(
            IngestJob(
                root=str(folder / "corpus"),
                output=str(manifest.parent),
                annotations=str(annotations),
                masks=plan.masks,
                split=plan.split,
                workers=_ingest_workers(job),
            )
        )
    with _phase("train", seconds):
        train_job = TrainJob(
            manifest=str(manifest),
            storage=str(folder / "runs"),
            name=run_name,
            cascade=cpu_cascade() if job.from_scratch else _finetune(),
            workers=job.workers,
            initial=None if job.from_scratch else PACKAGED,
        )
        trained = train(train_job)
    run = folder / "runs" / run_name
    checkpoint = str(run / trained.checkpoint)
    with _phase("evaluate", seconds):
        evaluation = evaluate(
            EvaluateJob(
                checkpoint=checkpoint,
                manifest=str(manifest),
                annotations=str(annotations),
                output=str(results / "evaluation"),
            )
        )
    with _phase("predict", seconds):
        predictions = predict(
            PredictJob(
                checkpoint=checkpoint,
                manifest=str(manifest),
                output=str(results / "predictions"),
                corpus_root=str(folder / "corpus"),
            )
        )
    with _phase("report", seconds):
        page = report(
            ReportJob(
                run=str(run),
                manifest=str(manifest),
                output=str(results / "report.html"),
                evaluation=str(results / "evaluation"),
                predictions=str(results / "predictions"),
            )
        )
    return DemoResult(
        report=page,
        overlays=tuple(Path(path) for path in predictions.overlays),
        tracking_uri=f"sqlite:///{folder / 'runs' / 'mlflow.db'}",
        evaluation=evaluation,
        seconds=seconds,
    )


def _plan(job: DemoJob) -> _Plan:
    match job.corpus:
        case "balancing":
            return _Plan(masks=SelfieMasks(), split=SplitByTail(test=25, gap=10, validation=8))
        case "synthetic":
            return _Plan(
                masks=BackgroundMasks(plate="given"),
                split=SplitBySubject(validation=("s04",), test=("s05",)),
            )


def _finetune() -> CascadeConfig:
    """Some epochs on the corpus for networks that know generated people only, taught by what they see there first."""
    base = cpu_cascade()
    (stage,) = mixed_view_finetune(base, single_view_share=0.0).stages
    stage = replace(
        stage,
        name="finetune",
        learning_rates=((4, 5e-4), (2, 2e-4)),
        anchor="teacher",
        teacher=TeacherConfig(),
        num_anchor_steps=300,
    )
    return replace(base, stages=(stage,))


def _write_sample(job: DemoJob, root: Path) -> None:
    match job.corpus:
        case "balancing":
            write_balancing(root)
        case "synthetic":
            config = SyntheticConfig(num_subjects=6, takes_per_subject=4, instants_per_take=16, fps=8)
            takes = config.num_subjects * config.takes_per_subject
            with progress("synthetic corpus", takes, "takes") as advance:
                write_corpus(root, config, progress=lambda done, of: advance(1))


def _ingest_workers(job: DemoJob) -> Workers:
    """Four views of one take side by side in one worker, or takes side by side."""
    if job.corpus == "balancing":
        return Workers(num=1, cpus_each=job.workers.num * job.workers.cpus_each)
    return Workers(num=job.workers.num, cpus_each=job.workers.cpus_each)


@contextmanager
def _phase(name: str, seconds: dict[str, float]) -> Generator[None]:
    start = time.monotonic()
    yield
    seconds[name] = time.monotonic() - start
    note(f"{name}: {seconds[name]:.0f} s")
