"""An ingest as an MLflow run: how far it is, and in the end what the dataset holds."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mas_ray.assets import default_cache
from mas_ray.config.jobs import IngestJob
from mas_ray.ingest.tally import Tally
from mas_ray.pipelines.dataset_lock import work_folder
from mas_ray.shards.location import absolute, location
from mas_ray.shards.manifest import Manifest

if TYPE_CHECKING:
    from mas_ray.tracking.mlflow_runs import Tracker

_EVERY_S = 10.0


@contextmanager
def tracked(job: IngestJob, *, num_instants_before: int) -> Generator[Callable[[Tally], None]]:
    """Log the tallies that the block gives, every ten seconds and at its end, if the job has a tracking URI.

    An ingest that goes on finds its run again. Steps are instants, those that earlier sessions committed included.

    Raises:
        ValueError: The MLflow store cannot be opened.
    """
    if job.tracking_uri is None:
        yield lambda tally: None
        return
    tracker = _open(job, job.tracking_uri)
    start_s = last_s = time.monotonic()
    latest: Tally | None = None

    def log(tally: Tally) -> None:
        figures = {
            "session/views_accepted": tally.accepted,
            "session/views_rejected": tally.rejected,
            "session/instants_per_s": tally.instants / max(time.monotonic() - start_s, 1e-9),
        }
        tracker.log_figures(tracker.parent, figures, step=num_instants_before + tally.instants)

    def watch(tally: Tally) -> None:
        nonlocal last_s, latest
        latest = tally
        if time.monotonic() - last_s >= _EVERY_S:
            last_s = time.monotonic()
            log(tally)

    try:
        yield watch
    except BaseException:
        tracker.finish(tracker.parent, "FAILED")
        raise
    if latest is not None:
        log(latest)


@contextmanager
def failure_tracked(job: IngestJob) -> Generator[None]:
    """Close the ingest's run as failed if the block fails and the job has a tracking URI."""
    try:
        yield
    except BaseException:
        if job.tracking_uri is not None:
            with suppress(ValueError):  # what the block failed of matters more than a store that has gone
                tracker = _open(job, job.tracking_uri)
                tracker.finish(tracker.parent, "FAILED")
        raise


def track_dataset(job: IngestJob, manifest: Manifest) -> None:
    """Log what a finished dataset holds, if the job has a tracking URI."""
    if job.tracking_uri is None:
        return
    tracker, num_instants = _open(job, job.tracking_uri), sum(take.num_instants for take in manifest.takes)
    rejects = {f"rejects/{reject.level}/{reject.reason}": reject.count for reject in manifest.rejects}
    held = {"dataset/instants": num_instants, "dataset/takes": len(manifest.takes)}
    tracker.log_figures(tracker.parent, held | rejects, step=num_instants)
    for name in ("manifest.json", "job.json"):
        with tempfile.TemporaryDirectory() as folder:  # the dataset may be in a store
            copy = Path(folder) / name
            copy.write_bytes((location(job.output) / name).read_bytes())
            tracker.log_file(tracker.parent, copy)
    tracker.finish(tracker.parent)


def _open(job: IngestJob, tracking_uri: str) -> Tracker:
    from mas_ray.tracking.mlflow_runs import open_tracker  # two seconds of imports, and only needed here

    output = absolute(job.output)
    work = work_folder(location(job.output), job.work)
    if isinstance(work, Path):
        storage = work.absolute().parent.parent if job.work is None else work.absolute().parent
    else:
        storage = default_cache()
    return open_tracker(
        tracking_uri,
        storage=storage,
        run_name=f"ingest {location(output).name}",
        run_key=f"ingest/{output}",
    )
