"""train: one Ray Train run per stage of a cascade, weights handed from stage to stage, all of it resumable."""

from __future__ import annotations

import functools
import os
import shutil
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray.train
from ray.exceptions import RayError
from ray.train.torch import TorchTrainer

from mas_ray.checkpoint import Progress, checkpoint_folder, load_checkpoint
from mas_ray.config import codec
from mas_ray.config.ablations import ablated
from mas_ray.config.cascade import CascadeConfig
from mas_ray.config.jobs import TrainJob, Workers
from mas_ray.pipelines import session
from mas_ray.pipelines.claim import check_inputs, claim, identity, locked
from mas_ray.pipelines.failures import StopAtOnce
from mas_ray.pipelines.kept_folder import KeptFolder, kept_folder
from mas_ray.pipelines.named_checkpoint import default_store, fetch_checkpoint, is_local
from mas_ray.pipelines.progress import Advance, note, progress
from mas_ray.pipelines.resources import WORKER_MEMORY_BYTES
from mas_ray.pipelines.run_folder import (
    CascadeResult,
    InitialCheckpoint,
    StageResult,
    finished_stages,
    stage_folder,
)
from mas_ray.pipelines.run_mirror import mirrored
from mas_ray.pipelines.stage_pictures import PicturesOverTime, draw_epoch
from mas_ray.pipelines.teach import write_teaching
from mas_ray.pipelines.worker import REPORTS, StageRun, tell_again, train_stage
from mas_ray.shards.location import Location, RemotePath, absolute, location, remove_tree
from mas_ray.shards.write import write_text
from mas_ray.tracking.report_spool import ReportSpool
from mas_ray.tracking.spool import read_spool

_SCORE = "validation/reconstruction"
_POLL_S = 1.0
_LOOK_S = 30.0
_TEACHING = "teacher.pt"
_CHECKPOINTS = "checkpoints"
"""In the folder of a run in a store: where Ray Train keeps a stage's checkpoints."""


class StageFailedError(RuntimeError):
    """A stage did not finish; the message names it and the cause in one line."""


Watch = Callable[[int], ray.train.UserCallback]
"""Given the index of a stage, what Ray Train's controller is to call as it trains."""


def train(job: TrainJob, *, mirror: bool = True, watch: Watch | None = None) -> CascadeResult:
    """Train every stage that is not finished yet.

    ``run_folder`` says what the run folder ``<storage>/<name>`` then holds. The cascade recorded there is the one
    trained: without what the job goes without.

    Args:
        job: What to train.
        mirror: Whether MLflow is kept up to date; somebody else does it otherwise.
        watch: Somebody who follows the stages besides.

    Raises:
        ValueError: An input is missing, damaged or does not fit (``claim.check_inputs``), the run folder belongs to
            another job, the tracking store of a new run cannot be opened, or the cluster cannot hold the workers.
            ``BusyError``: another driver trains the run.
        StageFailedError: A stage failed more often than ``max_failures`` allows, or once as it would again.
    """
    job = _for_its_storage(replace(job, cascade=ablated(job.cascade, job.without), without=()))
    with kept_folder(location(job.storage) / job.name, apart=(_CHECKPOINTS,)) as kept:
        run = kept.path
        job = with_fixed_inputs(job, run)
        record = check_inputs(job)
        job = replace(job, initial=job.initial and kept.address(Path(job.initial)))
        with locked(run):
            claim(run, record)
            write_text(run / "job.json", codec.dumps(job))
            kept.push()
            with mirrored(job, run) if mirror else nullcontext():
                results = finished_stages(run, job.cascade)
                if len(results) < len(job.cascade.stages):
                    with session.connect():
                        session.require(job.workers, "training", memory_each_bytes=WORKER_MEMORY_BYTES)
                        results = _train_stages(job, kept, results, watch)
                result = CascadeResult(checkpoint=results[-1].checkpoint, stages=tuple(results))
                write_text(run / "cascade.json", codec.dumps(result))
    return result


def _for_its_storage(job: TrainJob) -> TrainJob:
    """The job with what a storage of its kind needs: where runs are in a store, nothing else may be on a disk there."""
    storage = location(job.storage)
    if isinstance(storage, Path):
        return job
    tracking_uri = job.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not tracking_uri:
        raise ValueError(
            f"tracking_uri: {job.storage} is a store, where MLflow's own file cannot lie; "
            "name a tracking server or set MLFLOW_TRACKING_URI"
        )
    checkpoints = job.checkpoints or str(storage / job.name / _CHECKPOINTS)
    return replace(job, tracking_uri=tracking_uri, checkpoints=checkpoints)


def _fetch_initial(name: str, job: TrainJob, run: Path) -> Path:
    """The run folder's own copy of a checkpoint. Fetched once: what it names may change before a run goes on."""
    folder, record = run / "initial", run / "initial.json"
    if not record.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        pinned = fetch_checkpoint(name, job.tracking_uri or default_store(run.parent), folder)
        write_text(record, codec.dumps(InitialCheckpoint(name=name, version=pinned)))  # last: the folder is whole
    found = codec.loads(InitialCheckpoint, record.read_text(), str(record))
    if name not in (found.name, str(location(job.storage) / job.name / folder.name)):
        raise ValueError(f"{record}: this run started from {found.name}; choose another name or delete it")
    return folder


def with_fixed_inputs(job: TrainJob, run: Path) -> TrainJob:
    """The job with addresses for workers, who have a working directory of their own, and what must not change fetched.

    ``initial`` is a folder of this machine's disk.
    """
    storage = location(job.storage)
    if job.initial is not None and (not is_local(job.initial) or isinstance(storage, RemotePath)):
        with locked(run):
            job = replace(job, initial=str(_fetch_initial(job.initial, job, run)))
    return replace(
        job,
        manifest=absolute(job.manifest),
        storage=absolute(job.storage),
        single_view_manifest=job.single_view_manifest and absolute(job.single_view_manifest),
        checkpoints=job.checkpoints and absolute(job.checkpoints),
        initial=job.initial and str(checkpoint_folder(job.initial).absolute()),
    )


def _train_stages(
    job: TrainJob, kept: KeptFolder, results: list[StageResult], watch: Watch | None
) -> list[StageResult]:
    results, run = list(results), kept.path
    store = _checkpoint_store(job, run)
    for index in range(len(results), len(job.cascade.stages)):
        stage = job.cascade.stages[index]
        folder = stage_folder(run, job.cascade, index)
        _discard_later_stages(kept, job.cascade, index)
        if store is not None:
            for later in range(index + 1, len(job.cascade.stages)):
                remove_tree(store / stage_folder(run, job.cascade, later).name)
        folder.mkdir(parents=True, exist_ok=True)
        spool = folder / "metrics.jsonl"
        initial = kept.address(run / results[-1].checkpoint) if results else job.initial
        teaching = folder / _TEACHING if stage.teacher is not None else None
        stage_run = StageRun(
            job=job,
            stage=index,
            initial=initial,
            teaching=teaching and kept.address(teaching),
            folder=kept.address(folder),
        )
        if initial is not None and teaching is not None and stage.teacher is not None:
            try:
                write_teaching(
                    teaching,
                    checkpoint=initial,
                    manifest=job.manifest,
                    config=stage.teacher,
                    workers=job.workers,
                )
            except RayError as error:
                raise StageFailedError(f"stage {stage.name!r}: its teacher failed: {_last_line(error)}") from error
        for report in sorted((folder / REPORTS).glob("*.json")):  # of a driver that could not spool them any more
            tell_again(report, spool)
        kept.push()
        pictures = PicturesOverTime(folder, stage.name, num_epochs=stage.num_epochs, manifest=location(job.manifest))
        with _following(spool, _title(job, index), stage.num_epochs, pictures.see, job.workers):
            chosen, taken = _fit(stage_run, folder, spool, store, watch and watch(index))
        _draw_chosen(folder, stage.name, taken.num_epochs, location(job.manifest))
        result = StageResult(
            stage=stage.name,
            checkpoint=str(chosen.relative_to(run)),
            validation_reconstruction=taken.validation_reconstruction,
        )
        results.append(result)
        write_text(folder / "stage.json", codec.dumps(result))  # last: from here on the stage is not touched again
        kept.push()
        kept.remove(folder / REPORTS)
    return results


def _draw_chosen(folder: Path, stage: str, num_epochs: int, manifest: Location) -> None:
    """Pictures of what a stage hands on; a stage does not fail for want of them."""
    try:
        draw_epoch(folder, stage, num_epochs, manifest)
    except (OSError, ValueError, RuntimeError) as error:
        note(f"stage {stage}: no pictures: {_last_line(error)}")


def _title(job: TrainJob, index: int) -> str:
    return f"stage {index + 1}/{len(job.cascade.stages)} {job.cascade.stages[index].name}"


def _discard_later_stages(kept: KeptFolder, cascade: CascadeConfig, index: int) -> None:
    """What later stages have was made from other weights of this one."""
    for later in range(index + 1, len(cascade.stages)):
        kept.remove(stage_folder(kept.path, cascade, later))


def _checkpoint_store(job: TrainJob, run: Path) -> Location | None:
    """Where the job keeps the checkpoints of this run, if not in the run folder.

    Another run of the same name never goes on from them, nor one whose folder was deleted and made anew.
    """
    if job.checkpoints is None:
        return None
    return location(job.checkpoints) / f"{job.name}-{identity(run)}"


def _fit(
    stage_run: StageRun, folder: Path, spool: Path, store: Location | None, watcher: ray.train.UserCallback | None
) -> tuple[Path, Progress]:
    """Run a stage under Ray Train, which goes on by itself from the checkpoints it finds in ``store`` or ``folder``.

    Returns:
        The checkpoint that the stage hands on, in ``folder``, and where in the stage it was taken.
    """
    kept = folder.parent if store is None else store
    workers = stage_run.job.workers
    trainer = TorchTrainer(
        functools.partial(train_stage, stage_run),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers.num,
            use_gpu=workers.gpus_each > 0,
            resources_per_worker={"CPU": workers.cpus_each}
            | ({"GPU": workers.gpus_each} if workers.gpus_each > 0 else {}),
        ),
        run_config=ray.train.RunConfig(
            name=folder.name,
            storage_path=kept.path if isinstance(kept, RemotePath) else str(kept),
            storage_filesystem=kept.filesystem if isinstance(kept, RemotePath) else None,
            failure_config=ray.train.FailureConfig(max_failures=stage_run.job.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(
                num_to_keep=stage_run.job.num_checkpoints_kept,
                checkpoint_score_attribute=_SCORE,
                checkpoint_score_order="min",
            ),
            callbacks=[ReportSpool(str(spool)), StopAtOnce(), *([watcher] if watcher else [])],
        ),
    )
    stage = stage_run.job.cascade.stages[stage_run.stage]
    try:
        result = trainer.fit()
    except SystemExit:  # what Ray Train makes of Ctrl-C
        raise KeyboardInterrupt from None
    except ray.train.TrainingFailedError as error:
        raise StageFailedError(f"stage {stage.name!r}: {_last_line(error)}") from error
    best = result.get_best_checkpoint(_SCORE, "min")
    if best is None:
        raise StageFailedError(f"stage {stage.name!r}: it ended without a checkpoint; see {folder}")
    path = folder / Path(best.path).name
    if store is not None:
        shutil.rmtree(path, ignore_errors=True)
        best.to_directory(path)
    return path, load_checkpoint(path).progress


@contextmanager
def _following(
    spool: Path, title: str, num_epochs: int, draw: Callable[[int], None], workers: Workers
) -> Generator[None]:
    """Show what the spool gains, draw some of its epochs, and say what the cluster lacks, until the block ends.

    A node that died may come back: Ray Train waits for it, silently and as long as it takes.
    """
    before = len(read_spool(spool))  # not done in this session: no part of its rate
    done = threading.Event()
    if before:
        title = f"{title}, after epoch {before}"

    def follow(advance: Advance) -> None:
        shown, last = before, False
        looked_s, lacking = time.monotonic(), None
        while not last:
            last = done.wait(_POLL_S)
            if not last and time.monotonic() - looked_s > _LOOK_S:
                before_that, lacking = lacking, session.shortage(workers, "training")
                looked_s = time.monotonic()
                if lacking != before_that:
                    note(f"{title}: " + (f"waiting for the cluster: {lacking}" if lacking else "the cluster is whole"))
            epochs = read_spool(spool)
            if len(epochs) > shown:
                advance(len(epochs) - shown, **_figures(epochs[-1], num_epochs))
                shown = len(epochs)
                draw(epochs[-1]["epoch"] + 1)

    with progress(title, num_epochs - before, "epochs") as advance:
        thread = threading.Thread(target=follow, args=(advance,), name="follow-spool", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _figures(epoch: dict[str, Any], num_epochs: int) -> dict[str, float | int | str]:
    """What is shown of an epoch."""
    done, steps = epoch["epoch"] + 1, epoch["step"] + 1
    return {
        "epoch": f"{done}/{num_epochs}",
        "step": f"{steps}/{steps // done * num_epochs}",
        "loss": epoch["loss/total"],
        "held-out": epoch[_SCORE],
        "images/s": epoch["images_per_s"],
    }


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
