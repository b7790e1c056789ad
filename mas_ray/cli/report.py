"""``mas-ray report``: put a run into one HTML file."""

from __future__ import annotations

from collections.abc import Sequence

import tyro

from mas_ray.config.jobs import ReportJob


def run(argv: Sequence[str]) -> int:
    """Write the report, and say where it is."""
    return show(job_of(argv))


def job_of(argv: Sequence[str]) -> ReportJob:
    """The job that a command line stands for."""
    return tyro.cli(ReportJob, args=argv, prog="mas-ray report", description=ReportJob.__doc__)


def show(job: ReportJob) -> int:
    """Write a report and print where it is."""
    from mas_ray.pipelines.report import report  # torch loads only now

    print(f"wrote {report(job)}")
    return 0
