"""MLflow: a parent run per cascade, a nested run per stage. Runs are found again after a fault, not doubled."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

_EXPERIMENT = "mas-ray"
_KEY = "mas_ray.run_key"
_STEP = "step"
_log = logging.getLogger(__name__)


def open_tracker(tracking_uri: str | None, *, storage: Path, run_name: str, run_key: str) -> Tracker:
    """Open or create the MLflow runs of a cascade.

    Args:
        tracking_uri: Where runs are kept; None: the SQLite file ``<storage>/mlflow.db``, artifacts beside it.
        storage: Folder of runs.
        run_name: Name shown for the cascade's run.
        run_key: Identifies the cascade's run: the same key finds the same runs again.
    """
    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.tracking.fluent"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    client = MlflowClient(tracking_uri=tracking_uri or f"sqlite:///{storage / 'mlflow.db'}")
    found = client.get_experiment_by_name(_EXPERIMENT)
    if found:
        experiment = found.experiment_id
    else:
        artifacts = None if tracking_uri else (storage / "mlflow-artifacts").as_uri()
        experiment = client.create_experiment(_EXPERIMENT, artifact_location=artifacts)
    return Tracker(client, experiment, run_name=run_name, run_key=run_key)


class Tracker:
    """The MLflow runs of one cascade.

    A tracking store that fails is reported once per call in the log and never stops training: the metrics stay in
    the stage's spool and are logged with the next epoch that gets through.
    """

    def __init__(self, client: MlflowClient, experiment: str, *, run_name: str, run_key: str) -> None:
        self._client = client
        self._experiment = experiment
        self._run_key = run_key
        self.parent = self._find_or_create(run_key, run_name, {})
        self._logged: dict[str, int] = {}

    def stage(self, name: str) -> str:
        """The id of a stage's run, created at need."""
        return self._find_or_create(f"{self._run_key}/{name}", name, {"mlflow.parentRunId": self.parent})

    def log_epochs(self, run_id: str, epochs: Sequence[Mapping[str, Any]]) -> None:
        """Log the epochs that this run does not have yet."""
        if run_id not in self._logged:
            self._logged[run_id] = self._last_step(run_id)
        fresh = [epoch for epoch in epochs if epoch[_STEP] > self._logged[run_id]]
        metrics = [
            Metric(key=key, value=float(value), timestamp=int(epoch["time_ms"]), step=epoch[_STEP])
            for epoch in fresh
            for key, value in epoch.items()
            if isinstance(value, float)
        ]
        if not metrics:
            return
        try:
            for start in range(0, len(metrics), 1000):
                self._client.log_batch(run_id, metrics=metrics[start : start + 1000])
        except MlflowException as error:
            _log.warning("MLflow did not take the metrics of step %d: %s", fresh[-1][_STEP], error)
            return
        self._logged[run_id] = fresh[-1][_STEP]

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Log parameters that are not there yet."""
        known = self._client.get_run(run_id).data.params
        for key, value in params.items():
            if key not in known:
                self._client.log_param(run_id, key, value)

    def log_file(self, run_id: str, path: Path, folder: str | None = None) -> None:
        """Keep a file or a folder as an artifact of the run."""
        if path.is_dir():
            self._client.log_artifacts(run_id, str(path), folder)
        else:
            self._client.log_artifact(run_id, str(path), folder)

    def log_picture(self, run_id: str, picture_rgb: UInt8[np.ndarray, "height width 3"], name: str) -> None:
        """Keep a picture as an artifact of the run."""
        self._client.log_image(run_id, picture_rgb, artifact_file=name)

    def finish(self, run_id: str, status: str = "FINISHED") -> None:
        """Close a run; ``status`` as MLflow names them."""
        self._client.set_terminated(run_id, status)

    def _find_or_create(self, key: str, name: str, tags: dict[str, str]) -> str:
        found = self._client.search_runs([self._experiment], filter_string=f"tags.`{_KEY}` = '{key}'", max_results=1)
        if found:
            run_id = found[0].info.run_id
            self._client.update_run(run_id, status="RUNNING")
            return run_id
        return self._client.create_run(self._experiment, run_name=name, tags={_KEY: key, **tags}).info.run_id

    def _last_step(self, run_id: str) -> int:
        history = self._client.get_metric_history(run_id, "loss/total")
        return max((metric.step for metric in history), default=-1)
