"""``mas-ray submit``: run a job on a Ray cluster."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import tyro

from mas_ray.cli.job_file import load_literal
from mas_ray.pipelines.submission import VERBS, Job, Submission, submission


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Run a job on a Ray cluster and follow it: a file as in jobs/, or a command line of another verb after two dashes.

    mas-ray submit jobs/train_human36m.py --address http://head:8265
    mas-ray submit --address http://head:8265 -- train --job /data/job.json

    The job's paths must be such as the cluster's nodes know: absolute on a disk they share, or in an object store. Its
    exit status is the job's; Ctrl-C leaves the job running.
    """

    job: tyro.conf.Positional[str] = ""
    """A Python file with JOB = TrainJob(...) or any other job. It is executed here."""
    address: str | None = None
    """URL of the cluster's dashboard; without it what RAY_API_SERVER_ADDRESS says, or http://127.0.0.1:8265."""
    name: str | None = None
    """What the cluster shall know the job by; without it one is made up. A name is taken once."""
    with_code: bool = False
    """Send the mas_ray package that is installed here; otherwise the cluster's own is used."""
    detach: bool = False
    """Do not wait for the end."""
    autoscaling: bool = False
    """The cluster makes nodes as they are asked for: do not compare the job with those that it has now."""
    render: Literal["kuberay"] | None = None
    """Submit nothing: print a KubeRay RayJob for `kubectl apply`, the job on a cluster of its own."""
    image: str = ""
    """Of --render: the image without its last part, -cpu or -gpu; without it mas-ray:VERSION."""


def run(argv: Sequence[str]) -> int:
    """Submit, and follow the job to its end."""
    before, _, command = (tuple(argv), "", ()) if "--" not in argv else _split(argv)
    flags = tyro.cli(Flags, args=before, prog="mas-ray submit", description=Flags.__doc__)
    autoscaling = flags.autoscaling or flags.render is not None
    made = submission(_job(flags.job, command), name=flags.name, autoscaling=autoscaling)
    if flags.render is not None:
        from mas_ray.pipelines.rayjob import render

        print(render(made, image=flags.image or None), end="")
        return 0
    return _submit(made, flags)


def _split(argv: Sequence[str]) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    at = list(argv).index("--")
    return tuple(argv[:at]), "--", tuple(argv[at + 1 :])


def _job(file: str, command: Sequence[str]) -> Job:
    if bool(file) == bool(command):
        raise ValueError("expected a Python file with a JOB, or a verb and its flags after --, as --help shows")
    if file:
        job = load_literal(file, "TrainJob(...) or another job")
        if type(job) not in VERBS:
            raise ValueError(f"{file}: JOB is a {type(job).__name__}, expected one of {_names()}")
        return cast(Job, job)
    verb, *rest = command
    if verb not in VERBS.values():
        raise ValueError(f"-- {verb}: expected one of {', '.join(sorted(set(VERBS.values())))}")
    return importlib.import_module(f"mas_ray.cli.{verb}").job_of(rest)


def _names() -> str:
    return ", ".join(sorted(job.__name__ for job in VERBS))


def _submit(made: Submission, flags: Flags) -> int:
    from mas_ray.pipelines.ray_jobs import RayJobs  # Ray loads only now

    jobs = RayJobs(flags.address)
    lack = None if made.autoscaling else jobs.shortage(made)
    if lack is not None:
        raise ValueError(f"workers: {lack}; --autoscaling if the cluster makes nodes as they are asked for")
    jobs.submit(made, with_code=flags.with_code)
    where = f" --address {jobs.address}" if flags.address else ""
    print(f"submitted {made.name}", file=sys.stderr)
    print(f"  mas-ray jobs logs {made.name} --follow{where}", file=sys.stderr)
    print(f"  mas-ray jobs stop {made.name}{where}", file=sys.stderr)
    if flags.detach:
        print(made.name)
        return 0
    try:
        job = jobs.follow(made.name, _write)
    except KeyboardInterrupt:
        print(f"\n{made.name} goes on; `mas-ray jobs stop {made.name}{where}` would end it", file=sys.stderr)
        return 130
    print(f"{made.name}: {job.status.lower()}", file=sys.stderr)
    return job.exit_status


def _write(text: str) -> None:
    print(text, end="", flush=True)
