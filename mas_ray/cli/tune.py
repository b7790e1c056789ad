"""``mas-ray tune``: train variations of a job and rank them, without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from mas_ray.cli.job_file import load_job
from mas_ray.cli.sweep_table import print_sweep
from mas_ray.config.sweep import TuneJob


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Train variations of a job and rank them, without labels. The same command again goes on where it was."""

    job: tyro.conf.Positional[str]
    """A Python file with JOB = TuneJob(...), such as jobs/sweep_lambda_sigma.py, or a job record (JSON)."""


def run(argv: Sequence[str]) -> int:
    """Run the sweep, and say which trial is the best."""
    return show(job_of(argv))


def job_of(argv: Sequence[str]) -> TuneJob:
    """The job that a command line stands for."""
    flags = tyro.cli(Flags, args=argv, prog="mas-ray tune", description=Flags.__doc__)
    return load_job(flags.job, TuneJob)


def show(job: TuneJob) -> int:
    """Run a sweep and print its ranking and the next commands."""
    from mas_ray.pipelines.tune import tune  # torch and Ray load only now

    tune(job)
    print_sweep(Path(job.base.storage) / job.base.name)
    return 0
