"""Plain gloo processes that train or measure a stage together, without Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from mas_ray.annotations import read_reference
from mas_ray.batch import Batch
from mas_ray.config.cascade import CascadeConfig
from mas_ray.config.yardstick import Yardstick
from mas_ray.shards.manifest import read_manifest
from mas_ray.shards.read import read_split
from mas_ray.skeleton import H36M_18
from mas_ray.training.data import FrameSets, open_split
from mas_ray.training.loop import Worker, run_stage
from mas_ray.training.objective import LossBreakdown, StageObjective, Warps
from mas_ray.training.state import create_state
from mas_ray.training.yardstick import measure


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where the frame sets come from."""

    manifest: Path
    joints: Path
    """Reference joints of the training split, for stages with a teacher."""
    single_view: Path
    num_views: tuple[int, ...]
    """How many views each frame set of the training split keeps."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What some steps did: the same for every worker, losses as means over the workers."""

    losses: list[dict[str, float]]
    gradient: torch.Tensor
    """Of the first step."""


class _In(nn.Module):
    """An objective that is given its floating-point inputs in another precision."""

    def __init__(self, objective: StageObjective, dtype: torch.dtype) -> None:
        super().__init__()
        self.objective = objective.to(dtype)
        self.dtype = dtype

    def forward(self, batch: Batch, warps: Warps, step: int) -> LossBreakdown:
        return self.objective(self._cast(batch), self._cast(warps), step)

    def _cast(self, value: Any) -> Any:
        tensors = {field.name: getattr(value, field.name) for field in fields(value)}
        floats = {name: t.to(self.dtype) for name, t in tensors.items() if t is not None and t.is_floating_point()}
        return replace(value, **floats)


def open_data(data: Data, cascade: CascadeConfig, stage: int) -> tuple[FrameSets, FrameSets]:
    """The training split, its frame sets with as many views as they keep, and the single views."""
    manifest = read_manifest(data.manifest)
    rows = list(read_split(data.manifest.parent, manifest, "train"))
    kept = [{**row, "views": row["views"][:num]} for row, num in zip(rows, data.num_views, strict=True)]
    train = FrameSets(kept, manifest.view_slots, cascade)
    if cascade.stages[stage].teacher is not None:
        train = train.taught(torch.from_numpy(read_reference(data.joints).joints_world_mm).float())
    single_view = open_split(data.single_view.parent, read_manifest(data.single_view), "train", cascade)
    return train, single_view


def train_in_processes(
    num: int, folder: Path, data: Data, cascade: CascadeConfig, *, num_steps: int
) -> dict[tuple[torch.dtype, int], Trace]:
    """The traces of ``num`` workers: every stage from new weights, in float64 and float32.

    Args:
        num: How many processes.
        folder: Empty, for what the processes leave.
        data: The datasets.
        cascade: The recipe.
        num_steps: Steps of each stage.
    """
    multiprocessing.spawn(_work, (num, folder, data, cascade, num_steps), nprocs=num)
    traces = [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(num)]
    for rank in range(1, num):
        for key, trace in traces[rank].items():
            assert torch.equal(trace.gradient, traces[0][key].gradient), "workers go on with different gradients"
    return {
        key: Trace(
            losses=[_mean(step) for step in zip(*(t[key].losses for t in traces), strict=True)], gradient=gradient
        )
        for key, gradient in ((key, trace.gradient) for key, trace in traces[0].items())
    }


def measure_in_processes(
    num: int, folder: Path, manifest: Path, cascade: CascadeConfig, yardstick: Yardstick
) -> list[dict[str, float]]:
    """What each of ``num`` workers says of the validation split and the last stage's new networks; makes the folder."""
    folder.mkdir()
    multiprocessing.spawn(_measure, (num, folder, manifest, cascade, yardstick), nprocs=num)
    return [torch.load(folder / f"{rank}.pt") for rank in range(num)]


def _measure(rank: int, num: int, folder: Path, manifest: Path, cascade: CascadeConfig, yardstick: Yardstick) -> None:
    _join(rank, num, folder)
    state = create_state(cascade, H36M_18, torch.device("cpu"))
    objective = StageObjective(
        state.detector, state.shape_prior, stage=cascade.stages[-1], cascade=cascade, skeleton=H36M_18
    )
    held_out = open_split(manifest.parent, read_manifest(manifest), "validation", cascade)
    measured = measure(objective, held_out, yardstick, batch_size=3, worker=Worker(rank=rank, world_size=num))
    torch.save(measured, folder / f"{rank}.pt")
    _leave()


def _join(rank: int, num: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=num)


def _leave() -> None:
    """Together: a process that goes while another still sends to it takes that one along."""
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def _work(rank: int, num: int, folder: Path, data: Data, cascade: CascadeConfig, num_steps: int) -> None:
    _join(rank, num, folder)
    traces = {}
    for dtype in (torch.float64, torch.float32):
        for stage in range(len(cascade.stages)):
            state = create_state(cascade, H36M_18, torch.device("cpu"))
            objective = StageObjective(
                state.detector, state.shape_prior, stage=cascade.stages[stage], cascade=cascade, skeleton=H36M_18
            )
            parallel = DistributedDataParallel(_In(objective, dtype))
            train, single_view = open_data(data, cascade, stage)
            worker = Worker(rank=rank, world_size=num)
            losses, gradients = list[dict[str, float]](), list[torch.Tensor]()
            steps = run_stage(
                state, parallel, train, cascade=cascade, stage=stage, single_view=single_view, worker=worker
            )
            for metrics in islice(steps, num_steps):
                losses.append(metrics.losses)
                if not gradients:
                    gradients.append(torch.cat([p.grad.flatten() for p in parallel.parameters() if p.grad is not None]))
            traces[dtype, stage] = Trace(losses=losses, gradient=gradients[0].clone())
    torch.save(traces, folder / f"{rank}.pt")
    _leave()


def _mean(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}
