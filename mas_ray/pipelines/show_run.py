"""show: how far a training run is, from its run folder alone, wherever that is; no Ray, no torch, no MLflow."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mas_ray.config.jobs import TrainJob
from mas_ray.pipelines.lease import is_held
from mas_ray.pipelines.run_folder import (
    TrackingRecord,
    is_training,
    read_cascade_result,
    read_job,
    read_stage_result,
    read_tracking,
    stage_folder,
    tracking_uri_of,
)
from mas_ray.shards.location import Location
from mas_ray.shards.transfer import at_once, fetch, list_tree
from mas_ray.tracking.spool import read_lines, read_spool

_READ = frozenset({"run.json", "job.json", "cascade.json", "tracking.json", "stage.json", "metrics.jsonl", "FORMAT"})


@dataclass(frozen=True, kw_only=True)
class StageRow:
    """How far a stage is. Figures are of its last epoch; None before the first has ended."""

    stage: str
    state: Literal["finished", "begun", "not begun"]
    num_epochs: int
    """Finished ones."""
    of_epochs: int
    loss: float | None
    reconstruction: float | None
    """Of held-out frames."""
    best_reconstruction: float | None
    """Of all epochs."""
    images_per_s: float | None
    data_wait_share: float | None
    """Of the time of a step."""
    repeated_epochs: int
    """Reported again after a fault."""
    checkpoint: str | None
    """The one that was chosen, relative to the run folder."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """How far a run is."""

    run: str
    training_now: bool
    """A process is at work in the folder."""
    stages: tuple[StageRow, ...]
    checkpoint: str | None
    """Of the finished cascade."""
    model: str | None
    """Of the registry, with its version."""
    tracking_uri: str
    tracked: bool
    """The MLflow store has all of a finished run."""
    next: tuple[str, ...]
    """Commands to go on with."""


def is_run(place: Location) -> bool:
    """Whether a folder is a training's."""
    return (place / "run.json").is_file() and (place / "job.json").is_file()


def summarise_run(place: Location) -> RunSummary:
    """Look a run folder through.

    Raises:
        ValueError: It is none, or a file of it is damaged; the message names it.
    """
    place = place.absolute() if isinstance(place, Path) else place
    with _at_hand(place) as run:
        job = read_job(run)
        record = read_tracking(run)
        if record is not None and record.tracking_uri != tracking_uri_of(job):
            record = None  # of a store that the run had before
        finished = (run / "cascade.json").is_file()
        checkpoint = str(place / read_cascade_result(run).checkpoint) if finished else None
        at_work = is_training(run) if isinstance(place, Path) else is_held(place)
        return RunSummary(
            run=str(place),
            training_now=at_work,
            stages=tuple(_stage_row(run, job, index) for index in range(len(job.cascade.stages))),
            checkpoint=checkpoint,
            model=record and record.model,
            tracking_uri=_without_password(tracking_uri_of(job)),
            tracked=record is not None and record.complete,
            next=() if at_work else _next(place, job, record, checkpoint),
        )


@contextmanager
def _at_hand(place: Location) -> Generator[Path]:
    """The run folder on a disk while the block runs, with what is read here."""
    if isinstance(place, Path):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="mas-ray-") as scratch:
        names = [name for name in list_tree(place) if name.rpartition("/")[2] in _READ]
        at_once(lambda name: fetch(place / name, Path(scratch) / name), names)
        yield Path(scratch)


def _without_password(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//", uri)


def _stage_row(run: Path, job: TrainJob, index: int) -> StageRow:
    stage, folder = job.cascade.stages[index], stage_folder(run, job.cascade, index)
    epochs = read_spool(folder / "metrics.jsonl")
    result = read_stage_result(run, job.cascade, index)
    last = epochs[-1] if epochs else {}
    return StageRow(
        stage=stage.name,
        state="finished" if result else "begun" if folder.is_dir() else "not begun",
        num_epochs=last["epoch"] + 1 if epochs else 0,
        of_epochs=stage.num_epochs,
        loss=last.get("loss/total"),
        reconstruction=last.get("validation/reconstruction"),
        best_reconstruction=min((epoch["validation/reconstruction"] for epoch in epochs), default=None),
        images_per_s=last.get("images_per_s"),
        data_wait_share=last.get("data_wait_share"),
        repeated_epochs=len(read_lines(folder / "metrics.jsonl")) - len(epochs),
        checkpoint=result and result.checkpoint,
    )


def _next(run: Location, job: TrainJob, record: TrackingRecord | None, checkpoint: str | None) -> tuple[str, ...]:
    again = shlex.join(["mas-ray", "train", "--job", str(run / "job.json")])
    uri = tracking_uri_of(job)
    local = uri.startswith("sqlite:")
    look = (shlex.join(["mlflow", "ui", "--backend-store-uri", uri]),) if local else ()
    if checkpoint is None:
        return (again, *look)
    hand_over = () if record is not None and record.complete else (again,)
    on_data = ["--checkpoint", checkpoint, "--manifest", job.manifest, "--output"]
    report = ["mas-ray", "report", "--run", str(run), "--manifest", job.manifest, "--output", str(run / "report.html")]
    return (
        *hand_over,
        shlex.join(["mas-ray", "predict", *on_data, str(run / "predictions")]),
        shlex.join(["mas-ray", "evaluate", *on_data, str(run / "evaluation")]) + " --annotations ...",
        *((shlex.join(report),) if isinstance(run, Path) else ()),
        *look,
    )
