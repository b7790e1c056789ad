"""``mas-ray predict``: write joints and overlay videos."""

from __future__ import annotations

from collections.abc import Sequence

import tyro

from mas_ray.config.jobs import PredictJob

HELP = "Predict joints for every frame set of a dataset and draw them over the source videos."


def run(argv: Sequence[str]) -> int:
    """Predict, and say what was written."""
    job = tyro.cli(PredictJob, args=argv, prog="mas-ray predict", description=HELP)
    from mas_ray.pipelines.predict import predict  # torch loads only now

    predictions = predict(job)
    for path in (predictions.poses, *predictions.overlays):
        print(f"wrote {path}")
    return 0
