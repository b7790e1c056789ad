"""What each Ray Train worker runs: wires the plain training loop to Ray's checkpoints and reports."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import ray.util
import torch
from torch import nn

from mas_ray.checkpoint import Progress, load_checkpoint, load_optimizer, load_trained, save_checkpoint
from mas_ray.config.cascade import CascadeConfig
from mas_ray.config.jobs import TrainJob
from mas_ray.config.stage import StageConfig
from mas_ray.geometry.chirality import KneeChirality, knee_chirality
from mas_ray.inference import FrameSetEstimator
from mas_ray.pipelines.failures import memory_explained
from mas_ray.shards.location import Location, RemotePath, location
from mas_ray.shards.manifest import read_manifest
from mas_ray.shards.transfer import local_copy
from mas_ray.shards.write import write_text
from mas_ray.skeleton import H36M_18
from mas_ray.tracking.host_figures import HostFigures
from mas_ray.tracking.report_spool import append_report
from mas_ray.tracking.spool import read_spool
from mas_ray.training.bad_steps import BadStep, BadStepError
from mas_ray.training.data import FrameSets, open_split
from mas_ray.training.loop import StepMetrics, Worker, run_stage, validation_reconstruction
from mas_ray.training.objective import StageObjective
from mas_ray.training.placement import image_format, repeat_exactly
from mas_ray.training.state import Networks, TrainState, create_state, inherit
from mas_ray.training.teacher import load_teaching
from mas_ray.training.yardstick import measure

_CHIRALITY_POSES = 64
_HELD_OUT_BATCH = 8
_REPORT = "report.json"
PLACE = "placement_group"
"""File of a stage: the id of the placement group that its workers are in."""
REPORTS = "reports"
"""Folder of a stage in a store: its reports, an epoch each, until they are all in the spool."""


@dataclass(frozen=True, kw_only=True)
class StageRun:
    """One stage of a TrainJob, and the checkpoint it starts from."""

    job: TrainJob
    stage: int
    initial: str | None
    """Of the stage before, or the job's. This and the next two: paths that all machines have, or URIs."""
    teaching: str | None
    """File of the teacher's joints, if the stage has a teacher."""
    folder: str
    """Of the stage: where bad steps are told, and in a store every report as well."""


def train_stage(run: StageRun) -> None:
    """Train a stage from its beginning or from Ray's last checkpoint; report and checkpoint at every epoch's end.

    Raises:
        FloatingPointError: A bad step more than may be skipped, or the held-out loss is not finite.
        MemoryError: It does not suffice; the message says what to change in the job.
        ValueError: An input is missing or damaged.
    """
    device = ray.train.torch.get_device()
    with memory_explained(run.job, device):
        _train(run, device)


def _train(run: StageRun, device: torch.device) -> None:
    job, cascade = run.job, run.job.cascade
    stage = cascade.stages[run.stage]
    context = ray.train.get_context()
    worker = Worker(rank=context.get_world_rank(), world_size=context.get_world_size())
    place = ray.util.get_current_placement_group()
    if worker.rank == 0 and place is not None:
        write_text(location(run.folder) / PLACE, place.id.hex())
    if device.type == "cpu":
        torch.set_num_threads(max(1, int(job.workers.cpus_each)))
    if job.execution.deterministic:
        repeat_exactly()
    state = _restore(run, device)
    objective = _place(state.trained, stage, job, device)
    validated = objective if state.average is None else _place(state.average, stage, job, device)
    parallel = ray.train.torch.prepare_model(objective)
    manifest_path = location(job.manifest)
    folder, manifest = manifest_path.parent, read_manifest(manifest_path)
    train = open_split(folder, manifest, "train", cascade)
    held_out = open_split(folder, manifest, "validation", cascade) if manifest.splits.validation else train
    single_view = _open_single_view(job, stage)
    if run.teaching is not None:
        with local_copy(location(run.teaching)) as teaching:
            train = train.taught(load_teaching(teaching))
    host = HostFigures(device)
    epoch: list[StepMetrics] = []
    steps = run_stage(
        state,
        parallel,
        train,
        cascade=cascade,
        stage=run.stage,
        single_view=single_view,
        worker=worker,
        bad_steps=job.bad_steps,
    )
    for metrics in _told(steps, location(run.folder), worker):
        epoch.append(metrics)
        host.sample()
        if not metrics.ends_epoch:
            continue
        chirality = _chirality(state.kept, held_out, stage=stage, cascade=cascade) if worker.rank == 0 else None
        reconstruction = validation_reconstruction(validated, held_out, batch_size=_HELD_OUT_BATCH, worker=worker)
        progress = Progress(
            stage=run.stage,
            stage_name=stage.name,
            num_epochs=state.epoch,
            num_steps=metrics.step + 1,
            validation_reconstruction=reconstruction,
            knee_chirality=chirality,
        )
        measured = _by_yardstick(job, validated, held_out, worker)
        report = _summarise(epoch, stage.name, reconstruction, worker.world_size) | measured | host.take()
        epoch = []
        name = f"{stage.name}-epoch{state.epoch:04d}"
        if worker.rank > 0:
            ray.train.report(report, checkpoint_dir_name=name)
            continue
        with tempfile.TemporaryDirectory() as scratch:
            _save(Path(scratch), job, state, progress)
            (Path(scratch) / _REPORT).write_text(json.dumps(report))
            _keep_report(report, location(run.folder))
            ray.train.report(report, checkpoint=ray.train.Checkpoint.from_directory(scratch), checkpoint_dir_name=name)


def _restore(run: StageRun, device: torch.device) -> TrainState:
    """Ray's last checkpoint of this stage if there is one, else the networks it starts from."""
    state = create_state(run.job.cascade, H36M_18, device)
    last = ray.train.get_checkpoint()
    if last:
        with last.as_directory() as folder:
            _resume(state, Path(folder))
            if ray.train.get_context().get_world_rank() == 0 and isinstance(location(run.folder), Path):
                tell_again(Path(folder) / _REPORT, Path(run.folder) / "metrics.jsonl")
    elif run.initial:
        with local_copy(location(run.initial)) as folder:
            before = load_checkpoint(folder)
        stage = run.job.cascade.stages[run.stage]
        swapped = before.progress.knee_chirality is not None and before.progress.knee_chirality.says_swapped
        order = H36M_18.mirror_permutation if swapped else None
        inherit(state, stage, detector=before.detector, shape_prior=before.shape_prior, order=order)
    return state


def _resume(state: TrainState, folder: Path) -> None:
    """Bring a state to where a checkpoint of the stage was taken."""
    checkpoint = load_checkpoint(folder)
    state.kept.detector.load_state_dict(checkpoint.detector)
    state.kept.shape_prior.load_state_dict(checkpoint.shape_prior)
    if state.average is not None:
        trained = load_trained(folder)
        state.detector.load_state_dict(trained["detector"])
        state.shape_prior.load_state_dict(trained["shape_prior"])
    state.optimizer.load_state_dict(load_optimizer(folder))
    state.epoch = checkpoint.progress.num_epochs


def _keep_report(report: dict[str, Any], folder: Location) -> None:
    """Write a report down in a stage's folder, before its checkpoint, if the spool is out of the workers' reach."""
    if isinstance(folder, RemotePath):
        write_text(folder / REPORTS / f"epoch{report['epoch']:04d}.json", json.dumps(report))


def tell_again(path: Path, spool: Path) -> None:
    """Give the spool the report of an epoch if it lacks it.

    A driver that dies after Ray took note of a checkpoint, and before its report was spooled, leaves that gap.
    """
    if not path.is_file():  # of a run that began before checkpoints had it
        return
    report = json.loads(path.read_text())
    if report["epoch"] not in {line["epoch"] for line in read_spool(spool)}:
        append_report(spool, report)


def _place(networks: Networks, stage: StageConfig, job: TrainJob, device: torch.device) -> StageObjective:
    """The stage's objective on its device as the job wants it computed; its networks stay the same objects.

    Compiled before DDP wraps it, the detector's gradients are reduced as any others. Its soft-argmax has its backward
    written down, so that compiling more than the features would gain nothing.
    """
    objective = StageObjective(
        networks.detector,
        networks.shape_prior,
        stage=stage,
        cascade=job.cascade,
        skeleton=H36M_18,
        precision=job.execution.precision,
    )
    if job.execution.compile:
        networks.detector.features.compile()
    return objective.to(device).to(memory_format=image_format(device))


def _told(steps: Iterator[StepMetrics], folder: Location, worker: Worker) -> Iterator[StepMetrics]:
    """The same steps; each bad one is first written to the stage's folder, by one worker for all."""

    def write(bad_step: BadStep) -> None:
        if worker.rank == 0:
            write_text(folder / f"bad_step_{bad_step.step:06d}.json", json.dumps(bad_step.to_json(), indent=2) + "\n")

    try:
        for metrics in steps:
            if metrics.bad_step is not None:
                write(metrics.bad_step)
            yield metrics
    except BadStepError as error:
        write(error.bad_step)
        raise


def _open_single_view(job: TrainJob, stage: StageConfig) -> FrameSets | None:
    """The frame sets of single views, if the stage takes any."""
    if job.single_view_manifest is None or stage.single_view_share == 0:
        return None
    path = location(job.single_view_manifest)
    return open_split(path.parent, read_manifest(path), "train", job.cascade)


def _chirality(
    networks: Networks, held_out: FrameSets, *, stage: StageConfig, cascade: CascadeConfig
) -> KneeChirality | None:
    """Which way the knees bend in some held-out poses, spread over all of them."""
    estimator = FrameSetEstimator(
        networks.detector, networks.shape_prior, stage=stage, cascade=cascade, skeleton=H36M_18
    )
    rows = np.unique(np.linspace(0, len(held_out) - 1, _CHIRALITY_POSES).astype(np.int64))
    poses = [
        estimator.detect(held_out.batch(rows[start : start + _HELD_OUT_BATCH])).world_mm
        for start in range(0, len(rows), _HELD_OUT_BATCH)
    ]
    return knee_chirality(torch.cat(poses), H36M_18)


def _by_yardstick(job: TrainJob, kept: StageObjective, held_out: FrameSets, worker: Worker) -> dict[str, float]:
    """What the job's yardstick says of the networks that would be handed on; nothing if it has none."""
    if job.yardstick is None:
        return {}
    measured = measure(kept, held_out, job.yardstick, batch_size=_HELD_OUT_BATCH, worker=worker)
    return {f"yardstick/{name}": value for name, value in measured.items()}


def _save(folder: Path, job: TrainJob, state: TrainState, progress: Progress) -> None:
    save_checkpoint(
        folder,
        job,
        skeleton=H36M_18,
        progress=progress,
        **_weights(state.kept),
        optimizer=state.optimizer.state_dict(),
        trained=None if state.average is None else _weights(state.trained),
    )


def _weights(networks: Networks) -> dict[str, Any]:
    """On the CPU, by network."""
    return {"detector": _on_cpu(networks.detector), "shape_prior": _on_cpu(networks.shape_prior)}


def _on_cpu(module: nn.Module) -> dict[str, Any]:
    return {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}


def _summarise(epoch: list[StepMetrics], stage: str, reconstruction: float, world_size: int) -> dict[str, Any]:
    """One report: integers and names as they are, floats as means over the epoch's steps that were taken.

    ``loss_peak`` is the highest loss by the epoch's median one: a number that grows is a training about to explode.
    """
    taken = [step for step in epoch if step.bad_step is None]
    totals = [step.losses["total"] for step in taken]
    sums: dict[str, float] = defaultdict(float)
    for step in taken:
        for name, value in step.losses.items():
            sums[f"loss/{name}"] += value
        sums["gradient_norm"] += step.gradient_norm
    seconds = sum(step.seconds for step in epoch)
    return {
        "stage": stage,
        "epoch": epoch[-1].epoch,
        "step": epoch[-1].step,
        "time_ms": int(time.time() * 1000),
        **{name: value / len(taken) for name, value in sums.items()},
        "loss_peak": max(totals) / (statistics.median(totals) or 1.0),
        "skipped_steps": float(len(epoch) - len(taken)),
        "learning_rate": epoch[-1].learning_rate,
        "validation/reconstruction": reconstruction,
        "images_per_s": sum(step.num_images for step in epoch) * world_size / seconds,
        "data_wait_share": sum(step.data_wait_s for step in epoch) / seconds,
    }
