"""MLflow as a mirror of the run folder.

The run folder is the record. A thread of the driver compares it with what the store has taken (``tracking.json``) and
hands over the rest: a parent run for the cascade, a nested run per stage, the registered model. Every step of it may
be repeated. A store that is dead or hangs therefore delays nothing and loses nothing: it is asked again later, by this
process or by the next one that trains in the folder, which may find everything finished.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mas_ray.config import codec
from mas_ray.config.jobs import TrainJob
from mas_ray.pipelines.claim import identity
from mas_ray.pipelines.progress import note
from mas_ray.pipelines.run_folder import (
    TrackingRecord,
    finished_stages,
    read_cascade_result,
    read_stage_result,
    read_tracking,
    stage_folder,
    tracking_uri_of,
)
from mas_ray.shards.location import location
from mas_ray.shards.manifest import file_sha256, read_manifest
from mas_ray.shards.write import write_text
from mas_ray.tracking.origin import environment
from mas_ray.tracking.spool import read_spool

if TYPE_CHECKING:
    from mas_ray.tracking.mlflow_runs import Runs, Status

_EVERY_S = 2.0
_AGAIN_S = 30.0
_PATIENCE_S = 30.0
_log = logging.getLogger(__name__)


@contextmanager
def mirrored(job: TrainJob, run: Path) -> Generator[None]:
    """Keep an MLflow store up to date with a run folder while the block runs and until it has all of it.

    At the end of the block a store that fails is waited for half a minute, not longer.

    Raises:
        ValueError: The store cannot be opened, and none ever had anything of this run. Later that is no error: a run
            goes on without its store.
    """
    before = read_tracking(run)
    if before is not None and before.complete and before.tracking_uri == tracking_uri_of(job):
        if _is_all(before, job, run):
            yield
            return
        write_text(run / "tracking.json", codec.dumps(replace(before, done=(), complete=False)))
    if before is None:
        from mas_ray.tracking.mlflow_runs import open_store  # two seconds of imports

        open_store(job.tracking_uri, storage=run.parent)
    thread = MirrorThread(Mirror(job, run).update)
    thread.start()
    try:
        yield
    except BaseException as error:
        thread.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    thread.close("FINISHED")


def _is_all(record: TrackingRecord, job: TrainJob, run: Path) -> bool:
    """Whether there is nothing to add to a store that had all of a run: no stage to repeat, no model to register."""
    name = record.model and record.model.split("/")[1]
    registered = job.registered_model is None or job.registered_model == name
    return registered and len(finished_stages(run, job.cascade)) == len(job.cascade.stages)


class Mirror:
    """What an MLflow store has of a run folder, and how it gets the rest.

    Args:
        job: What the run folder is a run of.
        run: The run folder.
        parent: The id of the run that this one is nested in, as a trial in its sweep. A nested run's checkpoints stay
            in its folder.
    """

    def __init__(self, job: TrainJob, run: Path, *, parent: str | None = None) -> None:
        self._job = job
        self._run = run
        self._parent = parent
        self._key = identity(run)
        self._runs: Runs | None = None
        self._ids: dict[str, str] = {}
        self._record = read_tracking(run)

    @property
    def complete(self) -> bool:
        """Whether the run is finished, and the store has all of it."""
        return self._record is not None and self._record.complete

    def update(self, status: Status | None = None) -> str:
        """Hand over what the store does not have yet; the id of the run there.

        Args:
            status: How the run ended; None while it goes on.

        Raises:
            ValueError: The store cannot be opened.
            Exception: It does not take something; clients of artifact stores have errors of their own.
        """
        from mas_ray.tracking.mlflow_runs import Runs, open_store

        if self._runs is None:
            self._runs = Runs(open_store(self._job.tracking_uri, storage=self._run.parent), self._run.parent)
        try:
            return self._hand_over(status)
        except Exception:
            self._runs = None  # it may come back without what it had: look again next time
            self._ids.clear()
            raise

    def _hand_over(self, status: Status | None) -> str:
        assert self._runs is not None
        runs, parent = self._runs, self._find("", self._job.name, parent=self._parent)
        self._begin_record(parent)
        tags, params = self._tags, dict(flatten(codec.to_json(self._job)))
        self._once(f"tags {_digest(tags)}", functools.partial(runs.log_tags, parent, tags))
        self._once(f"environment {_digest(tags)}", functools.partial(_log_json, runs, parent, "environment.json", tags))
        self._once(f"params {_digest(params)}", functools.partial(runs.log_params, parent, params))
        self._once(f"job {_digest(params)}", functools.partial(runs.log_file, parent, self._run / "job.json"))
        for index in range(len(self._job.cascade.stages)):
            self._update_stage(index, parent, status)
        if status == "FINISHED":
            self._register(parent)
        if status is not None:
            runs.finish(parent, status)
        if status == "FINISHED":
            self._save(complete=True)
        return parent

    def _update_stage(self, index: int, parent: str, status: Status | None) -> None:
        assert self._runs is not None
        cascade = self._job.cascade
        folder, name = stage_folder(self._run, cascade, index), cascade.stages[index].name
        if not folder.is_dir() or self._has(f"{folder.name}/finished"):
            return
        runs, run_id = self._runs, self._find(name, name, parent=parent)
        result = read_stage_result(self._run, cascade, index)  # before the rest: what is read later is complete then
        runs.log_epochs(run_id, read_spool(folder / "metrics.jsonl"))
        for pictures in sorted((folder / "overlays").glob("epoch*")):
            where = f"overlays/{pictures.name}"
            self._once(f"{folder.name}/{where}", functools.partial(runs.log_file, run_id, pictures, where))
        if result is not None:
            if self._parent is None:
                chosen, where = self._run / result.checkpoint, "checkpoint"
                self._once(f"{folder.name}/{chosen.name}", functools.partial(runs.log_file, run_id, chosen, where))
            self._once(f"{folder.name}/finished", functools.partial(runs.finish, run_id))
        elif status is not None:
            runs.finish(run_id, status)

    def _register(self, parent: str) -> None:
        assert self._runs is not None
        if self._job.registered_model is None:
            return
        from mas_ray.tracking.registry import register

        final = self._run / read_cascade_result(self._run).checkpoint
        self._save(model=register(self._runs, parent, final, name=self._job.registered_model))

    def _find(self, name: str, title: str, *, parent: str | None = None) -> str:
        """The id of the run of the cascade (no name) or of a stage."""
        assert self._runs is not None
        if name not in self._ids:
            key = f"{self._key}/{name}" if name else self._key
            self._ids[name] = self._runs.find_or_create(key, title, parent=parent)
        return self._ids[name]

    def _begin_record(self, parent: str) -> None:
        """Another store, or one that has lost the run, has nothing yet."""
        uri = tracking_uri_of(self._job)
        if self._record is None or (self._record.tracking_uri, self._record.run_id) != (uri, parent):
            self._record = TrackingRecord(tracking_uri=uri, run_id=parent)
            self._save()

    def _has(self, what: str) -> bool:
        return self._record is not None and what in self._record.done

    def _once(self, what: str, hand_over: Callable[[], None]) -> None:
        if not self._has(what):
            hand_over()
            assert self._record is not None
            self._save(done=(*self._record.done, what))

    def _save(self, **changes: Any) -> None:
        assert self._record is not None
        self._record = replace(self._record, **changes)
        write_text(self._run / "tracking.json", codec.dumps(self._record))

    @functools.cached_property
    def _tags(self) -> dict[str, str]:
        """Where the run comes from."""
        path = location(self._job.manifest)
        tags = {"dataset.manifest_sha256": file_sha256(path), "dataset.version": str(read_manifest(path).version)}
        if self._job.single_view_manifest is not None:
            tags["dataset.single_view_manifest_sha256"] = file_sha256(location(self._job.single_view_manifest))
        return environment() | tags


class MirrorThread:
    """Brings a mirror up to date now and then, and once more at the end."""

    def __init__(self, update: Callable[[Status | None], object]) -> None:
        self._update = update
        self._status: Status | None = None
        self._closing = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._follow, name="mirror-run", daemon=True)

    def start(self) -> None:
        """From now on."""
        self._thread.start()

    def close(self, status: Status) -> None:
        """Hand over the rest; what is on its way is waited for, a store that fails only so long."""
        self._status = status
        self._closing.set()
        waited_s = time.monotonic()
        while self._thread.is_alive() and not (self._failing and time.monotonic() - waited_s > _PATIENCE_S):
            self._thread.join(0.1)
        if self._failing:
            note("MLflow has not taken everything; the run folder has it, the same command again hands it over")

    def _follow(self) -> None:
        from mas_ray.tracking.mlflow_runs import first_line

        closing = False
        while not closing:
            closing = self._closing.wait(_AGAIN_S if self._failing else _EVERY_S)
            try:
                self._update(self._status if closing else None)
                self._failing = False
            except Exception as error:  # whatever it is, the thread must outlive it
                if not self._failing:
                    _log.warning("MLflow does not take the run for now: %s", first_line(error))
                self._failing = True


def _log_json(runs: Runs, run_id: str, name: str, content: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / name
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
        runs.log_file(run_id, path)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The scalars of a config's JSON by their dotted paths."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flatten(item, f"{prefix}{key}.")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from flatten(item, f"{prefix}{index}.")
    else:
        yield prefix.rstrip("."), value
