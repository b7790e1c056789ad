"""``mas-ray jobs``: what runs on a cluster."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import tyro

from mas_ray.cli.text_table import text_table

if TYPE_CHECKING:
    from mas_ray.pipelines.ray_jobs import RemoteJob

_Address = Annotated[str | None, tyro.conf.arg(metavar="URL")]


@dataclass(frozen=True, kw_only=True)
class List:
    """The jobs that the cluster remembers, the latest last."""

    address: _Address = None
    """URL of the cluster's dashboard; without it what RAY_API_SERVER_ADDRESS says, or http://127.0.0.1:8265."""
    json: bool = False
    """For programs."""


@dataclass(frozen=True, kw_only=True)
class Logs:
    """What a job has said."""

    name: tyro.conf.Positional[str]
    """As `mas-ray jobs list` gives it."""
    follow: bool = False
    """Wait for more until the job has ended; the exit status is the job's."""
    address: _Address = None
    """URL of the cluster's dashboard."""


@dataclass(frozen=True, kw_only=True)
class Stop:
    """End a job. The same job, submitted again, goes on where it was."""

    name: tyro.conf.Positional[str]
    """As `mas-ray jobs list` gives it."""
    address: _Address = None
    """URL of the cluster's dashboard."""


_Command = (
    Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Logs, tyro.conf.subcommand("logs")]
    | Annotated[Stop, tyro.conf.subcommand("stop")]
)


def run(argv: Sequence[str]) -> int:
    """Ask the cluster, or stop one of its jobs."""
    command = tyro.cli(
        _Command,  # pyright: ignore[reportArgumentType]  # a union of classes, which tyro takes
        args=argv,
        prog="mas-ray jobs",
        description="List a cluster's jobs, read their logs, stop them.",
    )
    from mas_ray.pipelines.ray_jobs import RayJobs  # Ray loads only now

    jobs = RayJobs(command.address)
    match command:
        case List():
            found = jobs.all()
            print(json.dumps([_record(job) for job in found], indent=2) if command.json else _table(found))
        case Logs(follow=True):
            return jobs.follow(command.name, lambda text: print(text, end="", flush=True)).exit_status
        case Logs():
            print(jobs.logs(command.name), end="")
        case Stop():
            print(f"{command.name}: {jobs.stop(command.name).status.lower()}", file=sys.stderr)
    return 0


def _record(job: RemoteJob) -> dict[str, object]:
    return {
        "name": job.name,
        "verb": job.verb,
        "code_version": job.code_version,
        "status": job.status.lower(),
        "started_ms": job.started_ms,
        "ended_ms": job.ended_ms,
        "exit_status": job.exit_status if job.ended else None,
    }


def _table(found: Sequence[RemoteJob]) -> str:
    if not found:
        return "no jobs"
    rows = [["job", "verb", "status", "started", "took"]]
    for job in found:
        began, end = job.started_ms, job.ended_ms or time.time() * 1000
        rows.append(
            [
                job.name,
                job.verb or "-",
                job.status.lower(),
                datetime.fromtimestamp(began / 1000).strftime("%Y-%m-%d %H:%M:%S") if began else "-",
                _duration((end - began) / 1000) if began else "-",
            ]
        )
    return text_table(rows, num_names=4)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
