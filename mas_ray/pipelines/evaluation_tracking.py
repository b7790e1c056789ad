"""An evaluation as an MLflow run: its figures under their handling of left and right, its record and its page."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mas_ray.assets import default_cache
from mas_ray.config.jobs import EvaluateJob
from mas_ray.evaluation.record import Evaluation
from mas_ray.pipelines.progress import note
from mas_ray.shards.location import absolute, location


def track_evaluation(job: EvaluateJob, evaluation: Evaluation) -> None:
    """Log a finished evaluation, if the job or ``MLFLOW_TRACKING_URI`` names a store; the same job finds its run again.

    A store that cannot be opened is told and costs nothing: the files are written.
    """
    uri = job.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return
    from mas_ray.tracking.mlflow_runs import open_tracker  # two seconds of imports, and only needed here

    output = absolute(job.output)
    storage = Path(output).parent if isinstance(location(job.output), Path) else default_cache()
    name = f"evaluate {location(output).name}"
    try:
        tracker = open_tracker(uri, storage=storage, run_name=name, run_key=f"evaluate/{output}")
    except ValueError as error:
        note(f"evaluate: not logged: {error}")
        return
    tracker.log_figures(tracker.parent, dict(_figures(evaluation)), step=0)
    for name in ("evaluation.json", "evaluation.html"):
        with tempfile.TemporaryDirectory() as folder:  # the output may be in a store
            copy = Path(folder) / name
            copy.write_bytes((location(job.output) / name).read_bytes())
            tracker.log_file(tracker.parent, copy)
    tracker.finish(tracker.parent)


def _figures(evaluation: Evaluation) -> Iterator[tuple[str, float]]:
    if evaluation.ambiguity_ratio is not None:
        yield "ambiguity_ratio", evaluation.ambiguity_ratio
    for accuracy in evaluation.accuracy:
        for kind, errors in (("triangulated", accuracy.triangulated), ("monocular", accuracy.monocular)):
            if errors is not None:
                for name in ("mpjpe_mm", "n_mpjpe_mm", "p_mpjpe_mm", "pck_150_percent", "auc_150_percent"):
                    yield f"{accuracy.handling}/{kind}/{name}", getattr(errors, name)
        if accuracy.keypoints is not None:
            yield f"{accuracy.handling}/keypoints/percent_of_crop", accuracy.keypoints.percent_of_crop
