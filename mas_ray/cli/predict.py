"""``mas-ray predict``: write joints and overlay videos."""

from __future__ import annotations

from collections.abc import Sequence

import tyro

from mas_ray.config.jobs import PredictJob


def run(argv: Sequence[str]) -> int:
    """Predict, and say what was written."""
    return show(job_of(argv))


def job_of(argv: Sequence[str]) -> PredictJob:
    """The job that a command line stands for."""
    return tyro.cli(PredictJob, args=argv, prog="mas-ray predict", description=PredictJob.__doc__)


def show(job: PredictJob) -> int:
    """Run a prediction and print what was written."""
    from mas_ray.pipelines.predict import predict  # torch loads only now

    predictions = predict(job)
    for path in (predictions.poses, *predictions.overlays):
        print(f"wrote {path}")
    return 0
