"""``mas-ray report``: put a run into one HTML file."""

from __future__ import annotations

from collections.abc import Sequence

import tyro

from mas_ray.config.jobs import ReportJob


def run(argv: Sequence[str]) -> int:
    """Write the report, and say where it is."""
    job = tyro.cli(ReportJob, args=argv, prog="mas-ray report", description=ReportJob.__doc__)
    from mas_ray.pipelines.report import report  # torch loads only now

    print(f"wrote {report(job)}")
    return 0
