"""train: one Ray Train run per stage of a cascade, weights handed from stage to stage, all of it resumable."""

from __future__ import annotations

import functools
import hashlib
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray.train
from ray.exceptions import RayTaskError
from ray.train.torch import TorchTrainer

from mas_ray.checkpoint import checkpoint_folder, load_checkpoint
from mas_ray.config import codec
from mas_ray.config.ablations import ablated
from mas_ray.config.cascade import CascadeConfig
from mas_ray.config.jobs import TrainJob
from mas_ray.pipelines import session
from mas_ray.pipelines.claim import check_inputs, claim, locked
from mas_ray.pipelines.failures import StopAtOnce
from mas_ray.pipelines.progress import Advance, progress
from mas_ray.pipelines.stage_pictures import stage_pictures
from mas_ray.pipelines.teach import write_teaching
from mas_ray.pipelines.worker import StageRun, train_stage
from mas_ray.shards.location import absolute, location
from mas_ray.shards.write import write_text
from mas_ray.tracking.spool import ReportSpool, read_spool

_SCORE = "validation/reconstruction"
_WORKER_MEMORY_BYTES = 2**30
_POLL_S = 1.0
_TEACHING = "teacher.pt"


class StageFailedError(RuntimeError):
    """A stage did not finish; the message names it and the cause in one line."""


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """A finished stage: the checkpoint it hands on, chosen by held-out reconstruction, which needs no labels."""

    stage: str
    checkpoint: str
    """Relative to the run folder."""
    validation_reconstruction: float


@dataclass(frozen=True, kw_only=True)
class CascadeResult:
    """A finished cascade."""

    checkpoint: str
    """Of the last stage, relative to the run folder."""
    stages: tuple[StageResult, ...]


def train(job: TrainJob) -> CascadeResult:
    """Train every stage that is not finished yet.

    The run folder ``<storage>/<name>`` holds ``job.json``, ``stages/<i>-<stage>/`` with Ray's checkpoints,
    ``metrics.jsonl`` and ``stage.json``, and finally ``cascade.json``. The cascade recorded there is the one trained:
    without what the job goes without.

    Raises:
        ValueError: An input is missing, damaged or does not fit (``claim.check_inputs``), the run folder belongs to
            another job, the tracking store cannot be opened, or the cluster cannot hold the workers.
        StageFailedError: A stage failed more often than ``max_failures`` allows, or once as it would again.
    """
    job = replace(job, cascade=ablated(job.cascade, job.without), without=())
    record = check_inputs(job)
    job = _with_absolute_paths(job)
    run = Path(job.storage) / job.name
    with locked(run):
        claim(run, record)
        write_text(run / "job.json", codec.dumps(job))
        results = _finished_stages(run, job.cascade)
        if len(results) < len(job.cascade.stages):
            with session.connect():
                session.require(job.workers, "training", memory_each_bytes=_WORKER_MEMORY_BYTES)
                results = _train_stages(job, run, results)
        result = CascadeResult(checkpoint=results[-1].checkpoint, stages=tuple(results))
        write_text(run / "cascade.json", codec.dumps(result))
    return result


def stage_folder(run: Path, cascade: CascadeConfig, index: int) -> Path:
    """Where a run keeps a stage."""
    return run / "stages" / f"{index}-{cascade.stages[index].name}"


def read_cascade_result(run: Path) -> CascadeResult:
    """The result of a finished run; ``ValueError`` if there is none."""
    path = run / "cascade.json"
    if not path.is_file():
        raise ValueError(f"{path}: no finished cascade in this run folder")
    return codec.loads(CascadeResult, path.read_text(), str(path))


def _with_absolute_paths(job: TrainJob) -> TrainJob:
    """Workers have a working directory of their own."""
    return replace(
        job,
        manifest=absolute(job.manifest),
        storage=str(Path(job.storage).absolute()),
        single_view_manifest=job.single_view_manifest and absolute(job.single_view_manifest),
        initial=job.initial and str(checkpoint_folder(job.initial).absolute()),
    )


def _train_stages(job: TrainJob, run: Path, results: list[StageResult]) -> list[StageResult]:
    from mas_ray.tracking.mlflow_runs import open_tracker  # two seconds of imports, and only needed here

    results = list(results)
    tracker = open_tracker(job.tracking_uri, storage=run.parent, run_name=job.name, run_key=_run_key(run))
    tracker.log_params(tracker.parent, _params(job))
    tracker.log_file(tracker.parent, run / "job.json")
    for index in range(len(results), len(job.cascade.stages)):
        stage = job.cascade.stages[index]
        folder = stage_folder(run, job.cascade, index)
        folder.mkdir(parents=True, exist_ok=True)
        spool = folder / "metrics.jsonl"
        run_id = tracker.stage(stage.name)
        log_epochs = functools.partial(tracker.log_epochs, run_id)
        title = f"stage {index + 1}/{len(job.cascade.stages)} {stage.name}"
        initial = Path(job.initial) if job.initial else None
        if results:
            initial = run / results[-1].checkpoint
        teaching = folder / _TEACHING if stage.teacher is not None else None
        _discard_later_stages(run, job.cascade, index)
        stage_run = StageRun(
            job=job,
            stage=index,
            initial=initial and str(initial),
            teaching=teaching and str(teaching),
            folder=str(folder),
        )
        try:
            if initial is not None and teaching is not None and stage.teacher is not None:
                write_teaching(
                    teaching,
                    checkpoint=initial,
                    manifest=job.manifest,
                    config=stage.teacher,
                    workers=job.workers,
                )
            with progress(title, stage.num_epochs, "epochs") as advance, _following(spool, advance, log_epochs):
                chosen, score = _fit(stage_run, folder, spool)
        except (StageFailedError, RayTaskError) as error:
            tracker.finish(run_id, "FAILED")
            tracker.finish(tracker.parent, "FAILED")
            if isinstance(error, RayTaskError):
                raise StageFailedError(f"stage {stage.name!r}: its teacher failed: {_last_line(error)}") from error
            raise
        log_epochs(read_spool(spool))
        tracker.log_file(run_id, chosen, "checkpoint")
        for name, picture in stage_pictures(chosen, location(job.manifest)):
            tracker.log_picture(run_id, picture, name)
        tracker.finish(run_id)
        result = StageResult(stage=stage.name, checkpoint=str(chosen.relative_to(run)), validation_reconstruction=score)
        results.append(result)
        write_text(folder / "stage.json", codec.dumps(result))  # last: from here on the stage is not touched again
    tracker.finish(tracker.parent)
    return results


def _discard_later_stages(run: Path, cascade: CascadeConfig, index: int) -> None:
    """What later stages have was made from other weights of this one."""
    for later in range(index + 1, len(cascade.stages)):
        shutil.rmtree(stage_folder(run, cascade, later), ignore_errors=True)


def _fit(stage_run: StageRun, folder: Path, spool: Path) -> tuple[Path, float]:
    """Run a stage under Ray Train, which goes on by itself from the checkpoints it finds in ``folder``."""
    workers = stage_run.job.workers
    trainer = TorchTrainer(
        functools.partial(train_stage, stage_run),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers.num,
            use_gpu=workers.gpus_each > 0,
            resources_per_worker={"CPU": workers.cpus_each}
            | ({"GPU": workers.gpus_each} if workers.gpus_each > 0 else {}),
        ),
        run_config=ray.train.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            failure_config=ray.train.FailureConfig(max_failures=stage_run.job.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(
                num_to_keep=stage_run.job.num_checkpoints_kept,
                checkpoint_score_attribute=_SCORE,
                checkpoint_score_order="min",
            ),
            callbacks=[ReportSpool(str(spool)), StopAtOnce()],
        ),
    )
    stage = stage_run.job.cascade.stages[stage_run.stage]
    try:
        result = trainer.fit()
    except SystemExit:  # what Ray Train makes of Ctrl-C
        raise KeyboardInterrupt from None
    except ray.train.TrainingFailedError as error:
        raise StageFailedError(f"stage {stage.name!r}: {_last_line(error)}") from error
    best = result.get_best_checkpoint(_SCORE, "min")
    if best is None:
        raise StageFailedError(f"stage {stage.name!r}: it ended without a checkpoint; see {folder}")
    path = Path(best.path)
    return path, load_checkpoint(path).progress.validation_reconstruction


def _finished_stages(run: Path, cascade: CascadeConfig) -> list[StageResult]:
    """The results of the leading stages whose record and checkpoint are there."""
    results: list[StageResult] = []
    for index in range(len(cascade.stages)):
        path = stage_folder(run, cascade, index) / "stage.json"
        if not path.is_file():
            break
        result = codec.loads(StageResult, path.read_text(), str(path))
        if not (run / result.checkpoint / "FORMAT").is_file():
            break
        results.append(result)
    return results


@contextmanager
def _following(spool: Path, advance: Advance, log_epochs: Callable[[list[dict[str, Any]]], None]) -> Generator[None]:
    """Show and log what the spool gains, until the block ends."""
    done = threading.Event()

    def follow() -> None:
        shown = 0
        while True:
            last = done.wait(_POLL_S)
            epochs = read_spool(spool)
            if len(epochs) > shown:
                latest = epochs[-1]
                advance(
                    len(epochs) - shown,
                    loss=latest["loss/total"],
                    selection=latest[_SCORE],
                    images_per_s=latest["images_per_s"],
                )
                shown = len(epochs)
                log_epochs(epochs)
            if last:
                return

    thread = threading.Thread(target=follow, name="follow-spool", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _run_key(run: Path) -> str:
    """Names a run folder in MLflow's tags, whatever characters its path has."""
    return hashlib.sha256(str(run).encode()).hexdigest()[:16]


def _params(job: TrainJob) -> dict[str, Any]:
    return dict(_flatten("", codec.to_json(job)))


def _flatten(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flatten(f"{prefix}{key}.", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _flatten(f"{prefix}{index}.", item)
    else:
        yield prefix.rstrip("."), value


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
