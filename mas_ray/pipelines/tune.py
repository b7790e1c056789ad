"""tune: the trials of a sweep by Ray Tune, each a training of its own; the folder of the sweep is the record.

Ray Tune runs the trials and stops early the ones that fall behind. What a trial is, what it told and how it ended
stands in its folder, and whoever runs the sweep again reads it there. Tune's own record is not read: that would be
unpickling, and it lags behind.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import math
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ray
import ray.tune
from ray.train import Checkpoint
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.util.placement_group import PlacementGroup, PlacementGroupID, remove_placement_group

from mas_ray.config import codec
from mas_ray.config.jobs import Execution, TrainJob, Workers
from mas_ray.config.sweep import GridSearch, TuneJob, trial_job
from mas_ray.config.yardstick import Yardstick
from mas_ray.pipelines import session
from mas_ray.pipelines.claim import check_inputs, locked
from mas_ray.pipelines.draw import draw, num_trials
from mas_ray.pipelines.lease import BusyError
from mas_ray.pipelines.progress import Advance, note, progress
from mas_ray.pipelines.resources import WORKER_MEMORY_BYTES
from mas_ray.pipelines.run_folder import tracking_uri_of
from mas_ray.pipelines.sweep_folder import (
    SCORE,
    Outcome,
    Trial,
    begin_trial,
    end_trial,
    read_sweep,
    read_trials,
    trial_folder,
)
from mas_ray.pipelines.sweep_mirror import sweep_mirrored
from mas_ray.pipelines.sweep_summary import write_summary
from mas_ray.pipelines.train import StageFailedError, train, with_fixed_inputs
from mas_ray.pipelines.worker import PLACE
from mas_ray.shards.write import write_text

# A trial's driver needs next to no time of a core, which is all its workers'. Ray asks for a resource, so memory it is.
_DRIVER_RESOURCES = {"CPU": 0.0, "memory": 512.0 * 2**20}
_BUSY_PATIENCE_S = 120.0
_SETTINGS = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours to handle
    "TUNE_FORCE_TRIAL_CLEANUP_S": "1",  # a stopped trial's driver waits for its workers, who would go on to their end
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the trials' folders have what its loggers would write
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial may end without a report: failed, or finished before
}


def tune(job: TuneJob) -> list[Trial]:
    """Run every trial of a sweep that has not ended yet.

    ``sweep_folder`` says what ``<base.storage>/<base.name>`` then holds.

    Raises:
        ValueError: An input is missing or damaged, the folder belongs to another sweep, the tracking store of a new
            sweep cannot be opened, or the cluster cannot hold the workers of one trial.
    """
    if "://" in job.base.storage:
        raise ValueError(
            f"base.storage: {job.base.storage} is a store; expected a folder on a disk that all machines see"
        )
    sweep = Path(job.base.storage).absolute() / job.base.name
    job = replace(job, base=_of_a_sweep(job.base, sweep))
    check_inputs(trial_job(job, draw(job, 0, [])))
    with locked(sweep):
        _claim(sweep, job)
        with sweep_mirrored(job, sweep):
            trials = read_trials(sweep)
            if sum(trial.outcome is not None for trial in trials) < num_trials(job):
                with session.connect():
                    workers = job.base.workers
                    session.require(workers, "a trial", memory_each_bytes=WORKER_MEMORY_BYTES)
                    _run(job, sweep, trials)
                trials = read_trials(sweep)
            shutil.rmtree(sweep / "tune", ignore_errors=True)  # what Ray Tune kept for itself
            write_summary(job, sweep, trials)
    return trials


def concurrency(job: TuneJob, nodes: list[dict[str, Any]], *, grows: bool = False) -> int:
    """How many trials may run at once: so many that each gets all its workers.

    Ray Train's workers are not the trial's own resources: two trials that have half of theirs would wait for each other
    for ever, so that this number is what keeps them apart.

    Args:
        job: The sweep.
        nodes: As ``ray.nodes()`` gives them.
        grows: The cluster makes the nodes that are asked for; only the job then says how many trials are to be had.
    """
    if grows and job.max_concurrent is not None:
        return job.max_concurrent
    workers = job.base.workers
    places = sum(_places(node["Resources"], workers) for node in nodes if node["Alive"])
    return max(1, min(places // workers.num, job.max_concurrent or places))


def _places(resources: dict[str, float], workers: Workers) -> int:
    """Workers that a node can hold. A worker that takes part of a GPU takes it of one."""
    most = [resources.get("memory", 0) / WORKER_MEMORY_BYTES]
    if workers.cpus_each > 0:
        most.append(resources.get("CPU", 0) / workers.cpus_each)
    if workers.gpus_each > 0:
        gpus = resources.get("GPU", 0)
        most.append(gpus * (1 / workers.gpus_each // 1) if workers.gpus_each < 1 else gpus / workers.gpus_each)
    return math.floor(min(most) + 1e-9)


def _of_a_sweep(base: TrainJob, sweep: Path) -> TrainJob:
    """The base job as its trials have it: inputs pinned, one store, and a yardstick that no trial changes."""
    return replace(
        with_fixed_inputs(base, sweep),
        tracking_uri=tracking_uri_of(base),
        yardstick=base.yardstick or Yardstick(),
    )


def _claim(sweep: Path, job: TuneJob) -> None:
    """Make a sweep's folder this job's. More trials, other workers or another number at once are the same sweep."""
    path = sweep / "sweep.json"
    if path.is_file() and _identity(read_sweep(sweep)) != _identity(job):
        raise ValueError(f"{path}: another sweep has this folder; choose another base.name or delete it")
    write_text(path, codec.dumps(job))


def _identity(job: TuneJob) -> TuneJob:
    """The job without what may change between its sessions."""
    search = job.search if isinstance(job.search, GridSearch) else replace(job.search, num_trials=1)
    base = replace(job.base, workers=Workers(), execution=Execution(), tracking_uri=None, registered_model=None)
    return replace(job, base=base, search=search, max_concurrent=None, max_failures=0)


def _run(job: TuneJob, sweep: Path, trials: list[Trial]) -> None:
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    total = num_trials(job)
    ended = sum(trial.outcome is not None for trial in trials)
    at_once = concurrency(job, ray.nodes(), grows=session.grows())
    note(f"sweep {job.base.name}: {total} trials, {ended} of them done before, {at_once} at once")
    with progress(f"sweep {job.base.name}", total - ended, "trials") as advance:
        tuner = ray.tune.Tuner(
            ray.tune.with_resources(functools.partial(run_trial, str(sweep)), _DRIVER_RESOURCES),
            tune_config=ray.tune.TuneConfig(
                num_samples=-1,  # the searcher says when it is enough
                search_alg=_Trials(job, sweep, trials),
                scheduler=_scheduler(job, trials),
                max_concurrent_trials=at_once,
            ),
            run_config=ray.tune.RunConfig(
                name="tune",
                storage_path=str(sweep),
                failure_config=ray.tune.FailureConfig(max_failures=job.max_failures),
                callbacks=[_Watch(sweep, advance)],
                verbose=0,
            ),
        )
        with contextlib.redirect_stdout(io.StringIO()):  # a table of its settings, whatever its verbosity
            tuner.fit()


def run_trial(sweep: str, config: dict[str, Any]) -> None:
    """What Ray Tune runs for a trial: the driver of its training, which also records how it ended by itself."""
    folder, number = Path(sweep), int(config["number"])
    own = trial_folder(folder, number)
    drawn = next(trial.drawn for trial in read_trials(folder) if trial.number == number)
    # What can be wrong with the values was found out when the sweep was made.
    trial = replace(trial_job(read_sweep(folder), drawn), storage=str(own.parent), name=own.name, registered_model=None)
    try:
        _train(trial)
    except (StageFailedError, ValueError) as error:
        if not (own / "job.json").is_file():  # it failed before it began; MLflow shall know it all the same
            write_text(own / "job.json", codec.dumps(trial))
        lines = str(error).splitlines()
        end_trial(folder, number, Outcome(ending="failed", reason=lines[0] if lines else type(error).__name__))
    else:
        end_trial(folder, number, Outcome(ending="finished"))


def _train(job: TrainJob) -> None:
    """Train; a process of an interrupted sweep that still holds the run folder ends with its cluster."""
    before = list(itertools.accumulate((stage.num_epochs for stage in job.cascade.stages), initial=0))
    end_s = time.monotonic() + _BUSY_PATIENCE_S
    while True:
        try:
            train(job, mirror=False, watch=lambda stage: _TellTune(before[stage]))
            return
        except BusyError:
            if time.monotonic() > end_s:
                raise
            time.sleep(1.0)


class _TellTune(TuneReportCallback):
    """Tells Ray Tune how a trial stands after each epoch; it may then stop it."""

    def __init__(self, num_epochs_before: int) -> None:
        super().__init__()
        self._before = num_epochs_before

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None) -> None:
        """Called in Ray Train's controller once per report, with one dict per worker."""
        told = {"epochs": self._before + metrics[0]["epoch"] + 1, "score": metrics[0][SCORE]}
        super().after_report(run_context, [told], None)


class _Trials(Searcher):
    """Hands out the trials that began and did not end, then new ones until there are enough."""

    def __init__(self, job: TuneJob, sweep: Path, trials: list[Trial]) -> None:
        super().__init__(metric="score", mode="min")
        self._job, self._sweep = job, sweep
        self._waiting = [trial.number for trial in trials if trial.outcome is None]
        self._next = max((trial.number for trial in trials), default=-1) + 1

    def suggest(self, trial_id: str) -> Any:
        """The next trial, by its number; its values are in its folder."""
        if self._waiting:
            return {"number": self._waiting.pop(0)}
        if self._next >= num_trials(self._job):
            return Searcher.FINISHED
        number, self._next = self._next, self._next + 1
        begin_trial(self._sweep, number, draw(self._job, number, read_trials(self._sweep)))
        return {"number": number}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the folders have it."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the folders have it."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the folders have it."""


class _Watch(ray.tune.Callback):
    """Shows how the sweep goes, and records the ends that a trial's own driver cannot."""

    def __init__(self, sweep: Path, advance: Advance) -> None:
        self._sweep, self._advance = sweep, advance
        self._best = math.inf

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks for a restart of its own kind, which is never asked for."""
        return {}

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """A trial has ended an epoch."""
        if "score" in result:
            self._best = min(self._best, result["score"])
            self._advance(0, trial=trial.config["number"], epochs=result["epochs"], best=self._best)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial has ended, or was stopped."""
        self._end(trial, Outcome(ending="stopped"))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial's driver has died more often than it may."""
        self._end(trial, Outcome(ending="failed", reason="its driver died again and again"))

    def _end(self, trial: Any, outcome: Outcome) -> None:
        number = trial.config["number"]
        if not (trial_folder(self._sweep, number) / "outcome.json").is_file():
            end_trial(self._sweep, number, outcome)
        _free_place(trial_folder(self._sweep, number))
        self._advance(1)


def _free_place(trial: Path) -> None:
    """Remove the workers of a trial that was stopped, and what they hold.

    Ray Train does so itself, but only once it has seen that the process that started them is gone, and for that it asks
    the dashboard, which not every cluster has: the place would stay taken, and the next trial would wait for ever.
    """
    for path in trial.glob(f"stages/*/{PLACE}"):
        remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(path.read_text()))))


def _scheduler(job: TuneJob, trials: list[Trial]) -> TrialScheduler:
    """Ray Tune's scheduler, told what trials of an earlier session reached; one that goes on is judged from here on."""
    num_epochs = sum(stage.num_epochs for stage in trial_job(job, draw(job, 0, [])).cascade.stages)
    if job.early_stopping is None or job.early_stopping.grace_epochs >= num_epochs:
        return FIFOScheduler()
    scheduler = ASHAScheduler(
        time_attr="epochs",
        metric="score",
        mode="min",
        max_t=num_epochs - 1,  # no rung at the end, where there is nothing left to save
        grace_period=job.early_stopping.grace_epochs,
        reduction_factor=job.early_stopping.reduction_factor,
        stop_last_trials=False,
    )
    for trial in trials:
        if trial.outcome is not None:
            stand_in: Any = SimpleNamespace(trial_id=f"before-{trial.number}")
            controller: Any = None
            scheduler.on_trial_add(controller, stand_in)
            for told in trial.told:
                scheduler.on_trial_result(controller, stand_in, {"epochs": told.num_epochs, "score": told.score})
    return scheduler
