"""What each Ray Train worker runs: wires the plain training loop to Ray's checkpoints and reports."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
from torch import nn

from mas_ray.checkpoint import Progress, load_checkpoint, load_optimizer, save_checkpoint
from mas_ray.config.jobs import TrainJob
from mas_ray.shards.manifest import read_manifest
from mas_ray.skeleton import H36M_18
from mas_ray.training.data import open_split
from mas_ray.training.loop import StepMetrics, run_stage, validation_reconstruction
from mas_ray.training.objective import StageObjective
from mas_ray.training.order import num_steps
from mas_ray.training.state import TrainState, create_state


@dataclass(frozen=True, kw_only=True)
class StageRun:
    """One stage of a TrainJob, and the checkpoint of the stage before it."""

    job: TrainJob
    stage: int
    initial: str | None


def train_stage(run: StageRun) -> None:
    """Train a stage from its beginning or from Ray's last checkpoint; report and checkpoint at every epoch's end."""
    job, cascade = run.job, run.job.cascade
    stage = cascade.stages[run.stage]
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(max(1, int(job.workers.cpus_each)))
    state = _restore(run, device)
    objective = StageObjective(state.detector, state.shape_prior, stage=stage, cascade=cascade, skeleton=H36M_18).to(
        device
    )
    parallel = ray.train.torch.prepare_model(objective)
    folder = Path(job.manifest).parent
    manifest = read_manifest(Path(job.manifest))
    train = open_split(folder, manifest, "train", cascade)
    held_out = open_split(folder, manifest, "validation", cascade) if manifest.splits.validation else train
    steps = num_steps(len(train), cascade.batch_size, cascade.steps_per_epoch)
    epoch: list[StepMetrics] = []
    for metrics in run_stage(
        state,
        parallel,
        train.batch,
        stage=stage,
        cascade=cascade,
        num_rows=len(train),
        steps_per_epoch=steps,
        rank=rank,
        world_size=world_size,
    ):
        epoch.append(metrics)
        if not metrics.ends_epoch:
            continue
        reconstruction = validation_reconstruction(
            objective, held_out.batch, num_rows=len(held_out), batch_size=8, rank=rank, world_size=world_size
        )
        progress = Progress(
            stage=run.stage,
            stage_name=stage.name,
            num_epochs=state.epoch,
            num_steps=metrics.step + 1,
            validation_reconstruction=reconstruction,
        )
        report = _summarise(epoch, stage.name, reconstruction, world_size)
        epoch = []
        name = f"{stage.name}-epoch{state.epoch:04d}"
        if rank > 0:
            ray.train.report(report, checkpoint_dir_name=name)
            continue
        with tempfile.TemporaryDirectory() as scratch:
            _save(Path(scratch), job, state, progress)
            ray.train.report(report, checkpoint=ray.train.Checkpoint.from_directory(scratch), checkpoint_dir_name=name)


def _restore(run: StageRun, device: torch.device) -> TrainState:
    """Ray's last checkpoint of this stage if there is one, else the networks of the stage before."""
    state = create_state(run.job.cascade, H36M_18, device)
    last = ray.train.get_checkpoint()
    if last:
        with last.as_directory() as folder:
            _load_networks(state, Path(folder))
            state.optimizer.load_state_dict(load_optimizer(Path(folder)))
            state.epoch = load_checkpoint(Path(folder)).progress.num_epochs
    elif run.initial:
        _load_networks(state, Path(run.initial))
    return state


def _load_networks(state: TrainState, folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    state.detector.load_state_dict(checkpoint.detector)
    state.shape_prior.load_state_dict(checkpoint.shape_prior)


def _save(folder: Path, job: TrainJob, state: TrainState, progress: Progress) -> None:
    save_checkpoint(
        folder,
        job,
        skeleton=H36M_18,
        progress=progress,
        detector=_on_cpu(state.detector),
        shape_prior=_on_cpu(state.shape_prior),
        optimizer=state.optimizer.state_dict(),
    )


def _on_cpu(module: nn.Module) -> dict[str, Any]:
    return {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}


def _summarise(epoch: list[StepMetrics], stage: str, reconstruction: float, world_size: int) -> dict[str, Any]:
    """One report: integers and names as they are, floats as means over the epoch's steps."""
    sums: dict[str, float] = defaultdict(float)
    for step in epoch:
        for name, value in step.losses.items():
            sums[f"loss/{name}"] += value
        sums["gradient_norm"] += step.gradient_norm
    seconds = sum(step.seconds for step in epoch)
    return {
        "stage": stage,
        "epoch": epoch[-1].epoch,
        "step": epoch[-1].step,
        "time_ms": int(time.time() * 1000),
        **{name: value / len(epoch) for name, value in sums.items()},
        "learning_rate": epoch[-1].learning_rate,
        "validation/reconstruction": reconstruction,
        "images_per_s": sum(step.num_images for step in epoch) * world_size / seconds,
        "data_wait_share": sum(step.data_wait_s for step in epoch) / seconds,
    }
