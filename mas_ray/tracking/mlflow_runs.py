"""MLflow: a run per ingest or cascade, a nested run per stage. Runs are found again after a fault, not doubled."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

_EXPERIMENT = "mas-ray"
_KEY = "mas_ray.run_key"
_STEP = "step"
_LARGEST_BATCH = 1000  # of metrics, and of parameters below: what MLflow servers take at once
_LARGEST_PARAM_BATCH = 100
_log = logging.getLogger(__name__)


def open_tracker(tracking_uri: str | None, *, storage: Path, run_name: str, run_key: str) -> Tracker:
    """Open or create the MLflow run of an ingest or a cascade.

    Args:
        tracking_uri: Where runs are kept; None: the SQLite file ``<storage>/mlflow.db``, artifacts beside it.
        storage: Folder of runs.
        run_name: Name shown for it.
        run_key: Identifies it: the same key finds the same runs again.

    Raises:
        ValueError: The store cannot be opened, or the storage's path cannot stand in a database address.
    """
    if tracking_uri is None and set(str(storage)) & set("?#%"):
        raise ValueError(f"storage: {storage} has one of ?, #, % in it; give a --tracking-uri or choose another folder")
    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.tracking.fluent"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    uri = tracking_uri or f"sqlite:///{storage / 'mlflow.db'}"
    try:
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise ValueError(f"tracking_uri: the MLflow store cannot be opened: {str(error).splitlines()[0]}") from None
    return Tracker(client, storage, run_name=run_name, run_key=run_key)


class Tracker:
    """The MLflow run of one ingest, or the runs of one cascade.

    A store that fails while the work runs never stops it: each failure is one line in the log. Metrics lose nothing by
    it, they stay in the stage's spool and are logged with the next epoch that gets through.
    """

    def __init__(self, client: MlflowClient, storage: Path, *, run_name: str, run_key: str) -> None:
        self._client = client
        self._storage = storage
        self._run_key = run_key
        self._experiment: str | None = None
        self._logged: dict[str, int] = {}
        self.parent = self._find_or_create(run_key, run_name, {})

    def stage(self, name: str) -> str | None:
        """The id of a stage's run, created at need; None while the store cannot be reached."""
        tags = {"mlflow.parentRunId": self.parent} if self.parent else {}
        return self._find_or_create(f"{self._run_key}/{name}", name, tags)

    def log_epochs(self, run_id: str | None, epochs: Sequence[Mapping[str, Any]]) -> None:
        """Log the epochs that this run does not have yet."""
        if run_id is None:
            return
        with _forgiving("the metrics"):
            if run_id not in self._logged:
                self._logged[run_id] = self._last_step(run_id)
            fresh = [epoch for epoch in epochs if epoch[_STEP] > self._logged[run_id]]
            metrics = [
                Metric(key=key, value=float(value), timestamp=int(epoch["time_ms"]), step=epoch[_STEP])
                for epoch in fresh
                for key, value in epoch.items()
                if isinstance(value, float)
            ]
            for start in range(0, len(metrics), _LARGEST_BATCH):
                self._client.log_batch(run_id, metrics=metrics[start : start + _LARGEST_BATCH])
            if fresh:
                self._logged[run_id] = fresh[-1][_STEP]

    def log_figures(self, run_id: str | None, figures: Mapping[str, float | int], step: int) -> None:
        """Log figures as they stand at a step."""
        if run_id is None:
            return
        now_ms = time.time_ns() // 1_000_000
        with _forgiving("the figures"):
            metrics = [Metric(key, float(value), now_ms, step) for key, value in figures.items()]
            self._client.log_batch(run_id, metrics=metrics)

    def log_params(self, run_id: str | None, params: Mapping[str, Any]) -> None:
        """Log parameters that are not there yet."""
        if run_id is None:
            return
        with _forgiving("the parameters"):
            known = self._client.get_run(run_id).data.params
            fresh = [Param(key, str(value)) for key, value in params.items() if key not in known]
            for start in range(0, len(fresh), _LARGEST_PARAM_BATCH):
                self._client.log_batch(run_id, params=fresh[start : start + _LARGEST_PARAM_BATCH])

    def log_file(self, run_id: str | None, path: Path, folder: str | None = None) -> None:
        """Keep a file or a folder as an artifact of the run."""
        if run_id is None:
            return
        with _forgiving(path.name):
            if path.is_dir():
                self._client.log_artifacts(run_id, str(path), folder)
            else:
                self._client.log_artifact(run_id, str(path), folder)

    def log_picture(self, run_id: str | None, picture_rgb: UInt8[np.ndarray, "height width 3"], name: str) -> None:
        """Keep a picture as an artifact of the run."""
        if run_id is None:
            return
        with _forgiving(name):
            self._client.log_image(run_id, picture_rgb, artifact_file=name)

    def finish(self, run_id: str | None, status: Literal["FINISHED", "FAILED"] = "FINISHED") -> None:
        """Close a run."""
        if run_id is None:
            return
        with _forgiving(f"the status {status}"):
            self._client.set_terminated(run_id, status)

    def _find_or_create(self, key: str, name: str, tags: dict[str, str]) -> str | None:
        with _forgiving(f"the run {name!r}"):
            experiment = self._open_experiment()
            found = self._client.search_runs([experiment], filter_string=f"tags.`{_KEY}` = '{key}'", max_results=1)
            if found:
                self._client.update_run(found[0].info.run_id, status="RUNNING")
                return found[0].info.run_id
            return self._client.create_run(experiment, run_name=name, tags={_KEY: key, **tags}).info.run_id
        return None

    def _open_experiment(self) -> str:
        if self._experiment is None:
            found = self._client.get_experiment_by_name(_EXPERIMENT)
            local = self._client.tracking_uri.startswith("sqlite:")
            artifacts = (self._storage / "mlflow-artifacts").as_uri() if local else None
            self._experiment = (
                found.experiment_id
                if found
                else self._client.create_experiment(_EXPERIMENT, artifact_location=artifacts)
            )
        return self._experiment

    def _last_step(self, run_id: str) -> int:
        history = self._client.get_metric_history(run_id, "loss/total")
        return max((metric.step for metric in history), default=-1)


@contextmanager
def _forgiving(what: str) -> Generator[None]:
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        lines = str(error).splitlines()
        _log.warning("MLflow did not take %s: %s", what, lines[0] if lines else type(error).__name__)
