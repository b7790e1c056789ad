"""MLflow: a run per ingest or cascade, a nested run per stage. Runs are found again after a fault, not doubled."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

STORE_ERRORS = (MlflowException, SQLAlchemyError, OSError)
"""What a store raises that does not take something, or does not answer (the errors of ``requests`` are OSErrors)."""

Status = Literal["FINISHED", "FAILED", "KILLED"]

_EXPERIMENT = "mas-ray"
_KEY = "mas_ray.run_key"
_STEP = "step"
_LAST_METRIC = "loss/total"
_LARGEST_BATCH = 1000  # of metrics, and of parameters below: what MLflow servers take at once
_LARGEST_PARAM_BATCH = 100
# MLflow takes these from the environment alone. Its own limits (120 s, seven times, with pauses in between) make a
# quarter of an hour of one request to a server that hangs.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # it would repeat what the server may have done already
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_log = logging.getLogger(__name__)


def open_store(tracking_uri: str | None, *, storage: Path) -> MlflowClient:
    """Open an MLflow store; one request to a server then takes ten seconds at most, unless the user set otherwise.

    Args:
        tracking_uri: Where runs are kept; None: the SQLite file ``<storage>/mlflow.db``, artifacts beside it.
        storage: Folder of runs.

    Raises:
        ValueError: It cannot be opened, or the storage's path cannot stand in a database address.
    """
    if tracking_uri is None and set(str(storage)) & set("?#%"):
        raise ValueError(f"storage: {storage} has one of ?, #, % in it; give a --tracking-uri or choose another folder")
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.tracking.fluent"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    uri = tracking_uri or f"sqlite:///{storage / 'mlflow.db'}"
    try:
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    except STORE_ERRORS as error:
        raise ValueError(f"tracking_uri: the MLflow store cannot be opened: {first_line(error)}") from None
    return client


class Runs:
    """The runs of a store by their keys. Every method raises one of ``STORE_ERRORS`` where the store fails."""

    def __init__(self, client: MlflowClient, storage: Path) -> None:
        self.client = client
        self._storage = storage
        self._experiment: str | None = None
        self._last_steps: dict[str, int] = {}

    @property
    def experiment(self) -> str:
        """The id of the experiment that all runs belong to."""
        if self._experiment is None:
            found = self.client.get_experiment_by_name(_EXPERIMENT)
            local = self.client.tracking_uri.startswith("sqlite:")
            artifacts = (self._storage / "mlflow-artifacts").as_uri() if local else None
            self._experiment = (
                found.experiment_id
                if found
                else self.client.create_experiment(_EXPERIMENT, artifact_location=artifacts)
            )
        return self._experiment

    def find_or_create(self, key: str, name: str, *, parent: str | None = None) -> str:
        """The id of the run with a key, which is then running (again)."""
        found = self.client.search_runs(
            [self.experiment], filter_string=f"tags.`{_KEY}` = '{key}'", max_results=1, order_by=["start_time ASC"]
        )
        if found:
            self.client.update_run(found[0].info.run_id, status="RUNNING")
            return found[0].info.run_id
        tags = {_KEY: key} | ({"mlflow.parentRunId": parent} if parent else {})
        return self.client.create_run(self.experiment, run_name=name, tags=tags).info.run_id

    def log_epochs(self, run_id: str, epochs: Sequence[Mapping[str, Any]], *, last: str = _LAST_METRIC) -> None:
        """Log the epochs that a run does not have yet. What fails half way is taken up again by the next call.

        Args:
            run_id: The run.
            epochs: Figures by name, each with its ``step`` and ``time_ms``.
            last: The figure that is logged last of each epoch: where it is, everything before it is.
        """
        if run_id not in self._last_steps:
            history = self.client.get_metric_history(run_id, last)
            self._last_steps[run_id] = max((metric.step for metric in history), default=-1)
        fresh = [epoch for epoch in epochs if epoch[_STEP] > self._last_steps[run_id]]
        metrics = [
            Metric(key=key, value=epoch[key], timestamp=int(epoch["time_ms"]), step=epoch[_STEP])
            for epoch in fresh
            for key in sorted(epoch, key=lambda key: (key == last, key))
            if isinstance(epoch[key], float)
        ]
        for start in range(0, len(metrics), _LARGEST_BATCH):
            self.client.log_batch(run_id, metrics=metrics[start : start + _LARGEST_BATCH])
        if fresh:
            self._last_steps[run_id] = fresh[-1][_STEP]

    def log_figures(self, run_id: str, figures: Mapping[str, float | int], step: int) -> None:
        """Log figures as they stand at a step."""
        now_ms = time.time_ns() // 1_000_000
        self.client.log_batch(
            run_id, metrics=[Metric(key, float(value), now_ms, step) for key, value in figures.items()]
        )

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Log parameters that are not there yet."""
        known = self.client.get_run(run_id).data.params
        fresh = [Param(key, str(value)) for key, value in params.items() if key not in known]
        for start in range(0, len(fresh), _LARGEST_PARAM_BATCH):
            self.client.log_batch(run_id, params=fresh[start : start + _LARGEST_PARAM_BATCH])

    def log_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags, over what they were before."""
        self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def log_file(self, run_id: str, path: Path, folder: str | None = None) -> None:
        """Keep a file or a folder as an artifact of a run."""
        if path.is_dir():
            self.client.log_artifacts(run_id, str(path), folder)
        else:
            self.client.log_artifact(run_id, str(path), folder)

    def finish(self, run_id: str, status: Status = "FINISHED") -> None:
        """Close a run."""
        self.client.set_terminated(run_id, status)


def open_tracker(tracking_uri: str | None, *, storage: Path, run_name: str, run_key: str) -> Tracker:
    """Open or create the MLflow run of an ingest.

    Args:
        tracking_uri: As ``open_store`` takes it.
        storage: Folder of runs.
        run_name: Name shown for it.
        run_key: Identifies it: the same key finds the same run again.

    Raises:
        ValueError: The store cannot be opened.
    """
    return Tracker(Runs(open_store(tracking_uri, storage=storage), storage), run_name=run_name, run_key=run_key)


class Tracker:
    """The MLflow run of one ingest. A store that fails while the work runs never stops it: one line in the log."""

    def __init__(self, runs: Runs, *, run_name: str, run_key: str) -> None:
        self._runs = runs
        self.parent: str | None = None
        with _forgiving(f"the run {run_name!r}"):
            self.parent = runs.find_or_create(run_key, run_name)

    def log_figures(self, run_id: str | None, figures: Mapping[str, float | int], step: int) -> None:
        """Log figures as they stand at a step."""
        if run_id is not None:
            with _forgiving("the figures"):
                self._runs.log_figures(run_id, figures, step)

    def log_file(self, run_id: str | None, path: Path, folder: str | None = None) -> None:
        """Keep a file or a folder as an artifact of the run."""
        if run_id is not None:
            with _forgiving(path.name):
                self._runs.log_file(run_id, path, folder)

    def finish(self, run_id: str | None, status: Status = "FINISHED") -> None:
        """Close the run."""
        if run_id is not None:
            with _forgiving(f"the status {status}"):
                self._runs.finish(run_id, status)


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def _forgiving(what: str) -> Generator[None]:
    try:
        yield
    except STORE_ERRORS as error:
        _log.warning("MLflow did not take %s: %s", what, first_line(error))
