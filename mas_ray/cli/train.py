"""``mas-ray train``: train a cascade on a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from mas_ray.cli.job_file import load_job
from mas_ray.cli.run_summary import print_run
from mas_ray.config import codec
from mas_ray.config.cascade import CascadeConfig, cpu_cascade, mixed_view_finetune, paper_cascade
from mas_ray.config.jobs import Execution, TrainJob, Workers


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Train a cascade on a dataset, stage by stage, without labels. The same command again goes on or reuses."""

    manifest: str = ""
    """manifest.json of the dataset."""
    storage: str = "runs"
    """Folder of runs and of their MLflow store; or its URI in an object store, with a tracking URI."""
    name: str = "cascade"
    """Name of the run: its folder below the storage."""
    recipe: Literal["paper", "cpu", "mixed"] = "paper"
    """The paper's cascade (for GPUs), the small one for CPUs, or mixed-view fine-tuning of the initial checkpoint."""
    initial: str | None = None
    """Checkpoint folder to start from or its URI, 'packaged' for the one that comes with mas-ray, or models:/NAME@ALIAS
    or models:/NAME/VERSION of the MLflow registry; else random weights."""
    single_view_manifest: str | None = None
    """manifest.json of a dataset of single views, for the mixed recipe."""
    workers: int = 1
    """Ray Train workers."""
    gpus: bool = False
    """Give each worker a GPU."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the networks' layers; everything else is always float32."""
    tracking_uri: str | None = None
    """MLflow tracking URI; without it a SQLite file in the storage."""
    job: str | None = None
    """A file to run instead of all other flags: a job record (JSON), or Python with JOB = TrainJob(...)."""


def run(argv: Sequence[str]) -> int:
    """Train, and say where the result is."""
    return show(job_of(argv))


def job_of(argv: Sequence[str]) -> TrainJob:
    """The job that a command line stands for."""
    return _job(tyro.cli(Flags, args=argv, prog="mas-ray train", description=Flags.__doc__))


def show(job: TrainJob) -> int:
    """Run a training job and print a summary and the next commands."""
    from mas_ray.pipelines.show_run import summarise_run
    from mas_ray.pipelines.train import train  # torch and Ray load only now
    from mas_ray.shards.location import location

    train(job)
    print_run(summarise_run(location(job.storage) / job.name))
    return 0


def _job(flags: Flags) -> TrainJob:
    if flags.job:
        if flags != Flags(job=flags.job):
            raise ValueError("--job: takes no other flags; change the record instead")
        return load_job(flags.job, TrainJob)
    if not flags.manifest:
        raise ValueError("--manifest: name the dataset's manifest.json, or give a record with --job")
    return TrainJob(
        manifest=flags.manifest,
        storage=flags.storage,
        name=flags.name,
        single_view_manifest=flags.single_view_manifest,
        initial=flags.initial,
        cascade=_cascade(flags),
        workers=Workers(num=flags.workers, gpus_each=1.0 if flags.gpus else 0.0),
        execution=Execution(precision=flags.precision),
        tracking_uri=flags.tracking_uri,
    )


def _cascade(flags: Flags) -> CascadeConfig:
    if flags.recipe == "paper":
        return paper_cascade()
    if flags.recipe == "cpu":
        return cpu_cascade()
    if flags.initial is None:
        raise ValueError("--initial: name the checkpoint that the mixed recipe is to fine-tune")
    from mas_ray.pipelines.named_checkpoint import default_store, named_checkpoint  # torch loads only now

    store = flags.tracking_uri or default_store(Path(flags.storage).absolute())
    with named_checkpoint(flags.initial, store) as (_, folder):
        record = folder / "job.json"
        if not record.is_file():
            raise ValueError(f"{record}: no checkpoint here")
        return mixed_view_finetune(codec.loads(TrainJob, record.read_text(), str(record)).cascade)
