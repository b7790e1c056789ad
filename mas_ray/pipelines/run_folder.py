"""The run folder of a training: what lies where, and what it says. Reading it needs neither torch nor Ray.

``run.json`` and ``id``, what it is a run of and what it is known by; ``job.json``; ``stages/<i>-<stage>/`` with Ray's
checkpoints, ``metrics.jsonl`` (the spool), ``overlays/epoch<n>/`` and ``stage.json``; ``initial/`` and ``initial.json``
if it started from a registered model or one in a store; ``cascade.json`` when all stages are finished;
``tracking.json``, what MLflow has taken of all that. Of a run in a store this is the driver's copy (``kept_folder``);
there, Ray's checkpoints are in ``checkpoints/`` and a stage's one is the one that it hands on.
"""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path

from mas_ray.config import codec
from mas_ray.config.cascade import CascadeConfig
from mas_ray.config.jobs import TrainJob


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


@dataclass(frozen=True, kw_only=True)
class InitialCheckpoint:
    """The checkpoint that a run started from, if it is not of a disk that stays: ``initial/`` is the run's own copy."""

    name: str
    """As the job gave it."""
    version: str
    """What the name stood for when the run began: ``models:/<name>/<version>``, or the hash of its weights."""


@dataclass(frozen=True, kw_only=True)
class TrackingRecord:
    """What an MLflow store has taken of a run folder."""

    tracking_uri: str
    run_id: str
    """Of the parent run."""
    done: tuple[str, ...] = ()
    model: str | None = None
    """The registered model, as ``models:/<name>/<version>``."""
    complete: bool = False
    """The run is finished, and the store has all of it."""


def stage_folder(run: Path, cascade: CascadeConfig, index: int) -> Path:
    """Where a run keeps a stage."""
    return run / "stages" / f"{index}-{cascade.stages[index].name}"


def checkpoint_of_epoch(folder: Path, stage: str, num_epochs: int) -> Path:
    """Where a stage's checkpoint after so many epochs lies, as long as it is kept."""
    return folder / f"{stage}-epoch{num_epochs:04d}"


def read_job(run: Path) -> TrainJob:
    """The job of a run folder; ``ValueError`` if it has none."""
    path = run / "job.json"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; this is no run folder of a training")
    return codec.loads(TrainJob, path.read_text(), str(path))


def read_stage_result(run: Path, cascade: CascadeConfig, index: int) -> StageResult | None:
    """The result of a stage; None if it is not finished or its checkpoint is gone."""
    path = stage_folder(run, cascade, index) / "stage.json"
    if not path.is_file():
        return None
    result = codec.loads(StageResult, path.read_text(), str(path))
    return result if (run / result.checkpoint / "FORMAT").is_file() else None


def finished_stages(run: Path, cascade: CascadeConfig) -> list[StageResult]:
    """The results of the leading stages whose record and checkpoint are there."""
    results: list[StageResult] = []
    for index in range(len(cascade.stages)):
        result = read_stage_result(run, cascade, index)
        if result is None:
            break
        results.append(result)
    return results


def read_cascade_result(run: Path) -> CascadeResult:
    """The result of a finished run; ``ValueError`` if there is none."""
    path = run / "cascade.json"
    if not path.is_file():
        raise ValueError(f"{path}: no finished cascade in this run folder")
    return codec.loads(CascadeResult, path.read_text(), str(path))


def tracking_uri_of(job: TrainJob) -> str:
    """The MLflow store of a job: the one it names, or the SQLite file in its storage."""
    return job.tracking_uri or f"sqlite:///{Path(job.storage).absolute() / 'mlflow.db'}"


def read_tracking(run: Path) -> TrackingRecord | None:
    """What an MLflow store has taken of a run; None if none ever has taken anything."""
    path = run / "tracking.json"
    return codec.loads(TrackingRecord, path.read_text(), str(path)) if path.is_file() else None


def is_training(run: Path) -> bool:
    """Whether a process is training in the run folder now."""
    path = run / ".lock"
    if not path.is_file():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
