"""MLflow as a mirror of a sweep's folder: a parent run, a nested run per trial, and in that one per stage.

The process that runs the sweep writes all of it, so that a SQLite store has one writer however many trials run.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mas_ray.config import codec
from mas_ray.config.sweep import TuneJob
from mas_ray.pipelines.claim import identity
from mas_ray.pipelines.run_folder import read_job
from mas_ray.pipelines.run_mirror import Mirror, MirrorThread, flatten
from mas_ray.pipelines.sweep_folder import SCORE, Ending, Trial, read_trials, trial_folder

if TYPE_CHECKING:
    from mas_ray.tracking.mlflow_runs import Runs, Status

SUMMARY = ("sweep.json", "trials.json", "trials.md", "best_job.json", "sweep.html")
_STATUS: dict[Ending, Status] = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


@contextmanager
def sweep_mirrored(job: TuneJob, sweep: Path) -> Generator[None]:
    """Keep an MLflow store up to date with a sweep while the block runs, and until it has all of it.

    Raises:
        ValueError: The store cannot be opened.
    """
    from mas_ray.tracking.mlflow_runs import open_store  # two seconds of imports

    open_store(job.base.tracking_uri, storage=sweep.parent)
    thread = MirrorThread(SweepMirror(job, sweep).update)
    thread.start()
    try:
        yield
    except BaseException as error:
        thread.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    thread.close("FINISHED")


class SweepMirror:
    """What an MLflow store has of a sweep's folder, and how it gets the rest."""

    def __init__(self, job: TuneJob, sweep: Path) -> None:
        self._job, self._sweep = job, sweep
        self._runs: Runs | None = None
        self._parent = ""
        self._mirrors: dict[int, Mirror] = {}
        self._ended: set[int] = set()

    def update(self, status: Status | None = None) -> None:
        """Hand over what the store does not have yet.

        Args:
            status: How the sweep ended; None while it goes on.

        Raises:
            ValueError: The store cannot be opened.
            Exception: It does not take something; clients of artifact stores have errors of their own.
        """
        from mas_ray.tracking.mlflow_runs import Runs, open_store

        if self._runs is None:
            runs = Runs(open_store(self._job.base.tracking_uri, storage=self._sweep.parent), self._sweep.parent)
            self._parent = runs.find_or_create(identity(self._sweep), self._job.base.name)
            runs.log_params(self._parent, dict(flatten(codec.to_json(self._job))))
            self._runs = runs
        for trial in read_trials(self._sweep):
            if trial.number not in self._ended:
                self._update_trial(self._runs, trial)
        if status is not None:
            for name in SUMMARY:
                if (self._sweep / name).is_file():
                    self._runs.log_file(self._parent, self._sweep / name)
            self._runs.finish(self._parent, status)

    def _update_trial(self, runs: Runs, trial: Trial) -> None:
        folder = trial_folder(self._sweep, trial.number)
        if not (folder / "job.json").is_file():
            return
        if trial.number not in self._mirrors:
            self._mirrors[trial.number] = Mirror(read_job(folder), folder, parent=self._parent)
        run_id = self._mirrors[trial.number].update(trial.outcome and _STATUS[trial.outcome.ending])
        lines = [{"step": told.num_epochs, "time_ms": told.time_ms, SCORE: told.score} for told in trial.told]
        runs.log_epochs(run_id, lines, last=SCORE)
        if trial.outcome is not None:
            if trial.outcome.reason is not None:
                runs.log_tags(run_id, {"mas_ray.failure": trial.outcome.reason})
            if trial.score is not None:
                runs.log_figures(run_id, {"score": trial.score}, step=len(trial.told))
            self._ended.add(trial.number)
