"""``mas-ray export``: a checkpoint for other runtimes."""

from __future__ import annotations

from collections.abc import Sequence

import tyro

from mas_ray.config.jobs import ExportJob


def run(argv: Sequence[str]) -> int:
    """Export, and say how far the results are from our own."""
    return show(job_of(argv))


def job_of(argv: Sequence[str]) -> ExportJob:
    """The job that a command line stands for."""
    return tyro.cli(ExportJob, args=argv, prog="mas-ray export", description=ExportJob.__doc__)


def show(job: ExportJob) -> int:
    """Run an export and print what was written and how it was checked."""
    from mas_ray.pipelines.export import export  # torch loads only now

    exported = export(job)
    for check in exported.checks:
        print(f"{check.file}: at most {check.largest_difference:.1e} from our own, on {check.num_pictures} pictures")
    for path in exported.files:
        print(f"wrote {path}")
    return 0
