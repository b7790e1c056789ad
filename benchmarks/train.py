"""The training service against a bare loop: time per step, waiting for data, parts of a step, peak memory.

    python benchmarks/train.py --workers 2 --pairs 15 --steps 20

- Ray Train: gloo processes with a hand-written loop over batches in memory and the workers of one Ray Train run, with
  ``training.loop`` over the same batches, are alive at the same time and take turns, some steps each. A ratio for each
  pair of turns, their median, and an interval for it by the sign test; of wall-clock time, and of the CPU time of the
  slowest worker, which says more on a machine that has other work.
- Data: the same Ray workers go on from shards. What a step waits for its batch, and what decoding one takes.
- Parts: CPU time of the parts of a step on one thread, as ``training_step.py`` runs them, with the detector split into
  backbone and head (from the top-down path on), and the losses into triangulation with reprojection and the rest.
- Memory: resident high-water marks of the workers, and what a step takes beyond what is resident before it.

Minutes, on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import interleaved_cpu_seconds, peak_bytes, print_table
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from training_step import GIVEN_JOINTS, STEP, Phase, batch_of_people, keep_freed_memory, phases, variants

from mas_ray.batch import Batch
from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.config.ingest import BackgroundMasks
from mas_ray.config.jobs import IngestJob
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import write_corpus
from mas_ray.shards.manifest import read_manifest
from mas_ray.skeleton import H36M_18
from mas_ray.training.data import FrameSets, open_split
from mas_ray.training.loop import Worker, run_stage
from mas_ray.training.objective import StageObjective, Warps
from mas_ray.training.order import draw_warps
from mas_ray.training.reprojection import Seen, reproject
from mas_ray.training.state import TrainState, create_state

_TARGET_RATIO, _TARGET_WAIT = 1.05, 0.05
_STAGE = 1  # it has every part of a step and needs no teacher
_NUM_BATCHES = 4
_POLL_S = 0.005


@dataclass(frozen=True, kw_only=True)
class _Seconds:
    """Of a step."""

    wall: float
    cpu: float


@dataclass(frozen=True, kw_only=True)
class _Turns:
    """Who trains when; everything travels through files of ``folder``."""

    folder: Path
    num_workers: int
    num_turns: int
    steps: int

    @property
    def cascade(self) -> CascadeConfig:
        """The CPU preset at the end of its windows, with an epoch as long as all turns together."""
        stage = replace(cpu_cascade().stages[_STAGE], learning_rates=((2, 1e-4),), num_direct_only_steps=0)
        stages = tuple(stage if n == _STAGE else other for n, other in enumerate(cpu_cascade().stages))
        return replace(cpu_cascade(), stages=stages, steps_per_epoch=self.num_turns * self.steps)

    def inputs(self, rank: int) -> list[tuple[Batch, Warps]]:
        """A worker's part of the batches in memory."""
        return torch.load(self.folder / f"inputs-{rank}.pt", weights_only=False)

    def file(self, who: str, turn: int, rank: int) -> Path:
        """Where a worker leaves the seconds of its turn."""
        return self.folder / f"{who}-{turn}-{rank}"

    def begin(self, who: str, turn: int) -> None:
        """Let one side train."""
        (self.folder / f"{who}-{turn}").touch()

    def wait_for(self, who: str, turn: int) -> None:
        """Wait until one's side is let."""
        _wait_for(self.folder / f"{who}-{turn}")

    def seconds_per_step(self, who: str, turn: int) -> _Seconds:
        """Wait until all workers of one side are done; the slowest's times."""
        files = [self.file(who, turn, rank) for rank in range(self.num_workers)]
        for file in files:
            _wait_for(file)
        wall, cpu = zip(*(map(float, file.read_text().split()) for file in files), strict=True)
        return _Seconds(wall=max(wall) / self.steps, cpu=max(cpu) / self.steps)


class _InMemory(FrameSets):
    """As many frame sets as there are; every batch is the next one of those in memory."""

    def __init__(self, frame_sets: FrameSets, batches: Sequence[Batch]) -> None:
        self._num = len(frame_sets)
        self._next = cycle(batches)

    def __len__(self) -> int:
        return self._num

    def batch(self, rows: np.ndarray[Any, Any]) -> Batch:
        """The next batch."""
        return next(self._next)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20, help="of one turn")
    parser.add_argument("--bare", nargs=4, metavar=("FOLDER", "RANK", "TURNS", "STEPS"), help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.bare:
        folder, rank, turns, steps = flags.bare
        _train_bare(
            _Turns(folder=Path(folder), num_workers=flags.workers, num_turns=int(turns), steps=int(steps)), int(rank)
        )
        return 0
    with tempfile.TemporaryDirectory(prefix="mas-ray-train-") as name:
        turns = _Turns(folder=Path(name), num_workers=flags.workers, num_turns=flags.pairs + 1, steps=flags.steps)
        _compare(turns)
    _print_parts()
    return 0


def _compare(turns: _Turns) -> None:
    """Bare processes and Ray's workers in turns, then the latter from shards."""
    from mas_ray.pipelines import session

    manifest = turns.folder / "dataset" / "manifest.json"
    with session.connect(num_cpus=turns.num_workers + 2):
        _write_dataset(turns.folder)
        _write_inputs(turns, manifest)
        command = [sys.executable, __file__, "--workers", str(turns.num_workers), "--bare", str(turns.folder)]
        loops = [
            subprocess.Popen(
                [*command, str(rank), str(turns.num_turns), str(turns.steps)],
                env={**os.environ, "OMP_NUM_THREADS": "1"},  # as Ray gives its workers
            )
            for rank in range(turns.num_workers)
        ]
        results: list[dict[str, float]] = []
        fit = threading.Thread(target=lambda: results.append(_fit(turns, manifest)), daemon=True)
        fit.start()
        pairs = list[tuple[_Seconds, _Seconds]]()
        for turn in range(turns.num_turns):
            seconds = dict[str, _Seconds]()
            for who in ("bare", "ray"):
                turns.begin(who, turn)
                seconds[who] = turns.seconds_per_step(who, turn)
            if turn > 0:  # the first one warms up
                pairs.append((seconds["bare"], seconds["ray"]))
        bare_mib = max(float((turns.folder / f"bare-mib-{rank}").read_text()) for rank in range(turns.num_workers))
        for loop in loops:
            assert loop.wait(60) == 0
        fit.join()
    (result,) = results
    _print_pairs(turns, pairs)
    wait = result["data_wait_share"]
    print_table(
        "From shards, under Ray Train",
        ["step, ms", "decoding its batch, ms", "waits for data", "target"],
        [
            [
                f"{1000 * result['step_s']:.1f}",
                f"{1000 * result['decode_s']:.1f}",
                f"{wait:.2%}",
                f"{_TARGET_WAIT:.0%} {'met' if wait <= _TARGET_WAIT else 'MISSED'}",
            ]
        ],
    )
    rows = [["bare worker", f"{bare_mib:.0f}"], ["Ray worker", f"{result['peak_mib']:.0f}"]]
    print_table("Resident high-water mark of a worker", ["", "MiB"], rows)
    print(f"\na report to Ray Train at an epoch's end, without a checkpoint: {1000 * result['report_s']:.0f} ms")


def _print_pairs(turns: _Turns, pairs: Sequence[tuple[_Seconds, _Seconds]]) -> None:
    wall = _row("wall clock", [(bare.wall, ours.wall) for bare, ours in pairs])
    cpu = _row("CPU", [(bare.cpu, ours.cpu) for bare, ours in pairs])
    print_table(
        f"{len(pairs)} pairs of turns of {turns.steps} steps, {turns.num_workers} workers, batches in memory",
        ["time", "bare, ms/step", "Ray Train, ms/step", "ratio", "95 % interval", "target"],
        [wall, cpu],
    )


def _row(what: str, pairs: Sequence[tuple[float, float]]) -> list[str]:
    ratios = sorted(ours / bare for bare, ours in pairs)
    ratio, (low, high) = statistics.median(ratios), _interval(ratios)
    return [
        what,
        *(f"{1000 * statistics.median(column):.1f}" for column in zip(*pairs, strict=True)),
        f"{ratio:.3f}",
        f"{low:.3f} to {high:.3f}",
        f"{_TARGET_RATIO} {'met' if ratio <= _TARGET_RATIO else 'MISSED'}",
    ]


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Of the median of sorted values: the order statistics between which it lies with at least 95 %."""
    num = len(values)
    below = [math.comb(num, k) / 2**num for k in range(num)]
    cut = next((k for k in range(num) if sum(below[: k + 1]) > 0.025), 0)
    return (values[cut - 1], values[num - cut]) if cut else (values[0], values[-1])


def _write_dataset(folder: Path) -> None:
    from mas_ray.pipelines.ingest import ingest

    corpus = SyntheticConfig(num_subjects=4, takes_per_subject=1, instants_per_take=8, width_px=512, height_px=512)
    write_corpus(folder / "corpus", corpus)
    job = IngestJob(
        root=str(folder / "corpus"),
        output=str(folder / "dataset"),
        masks=BackgroundMasks(plate="given"),
        curation=None,
    )
    ingest(job)


def _write_inputs(turns: _Turns, manifest: Path) -> None:
    cascade = turns.cascade
    frame_sets = open_split(manifest.parent, read_manifest(manifest), "train", cascade)
    for rank in range(turns.num_workers):
        inputs = list[tuple[Batch, Warps]]()
        for number in range(_NUM_BATCHES):
            first = number * cascade.batch_size
            rows = Worker(rank=rank, world_size=turns.num_workers).part_of(
                np.arange(first, first + cascade.batch_size) % len(frame_sets)
            )
            batch = frame_sets.batch(rows)
            warps = draw_warps(
                rows,
                batch.valid,
                num_warped=cascade.equivariance_views or batch.valid.shape[1],
                scale=cascade.equivariance_scale,
                seed=0,
                step=number,
            )
            inputs.append((batch, warps))
        torch.save(inputs, turns.folder / f"inputs-{rank}.pt")


def _networks(cascade: CascadeConfig) -> tuple[TrainState, StageObjective]:
    state = create_state(cascade, H36M_18, torch.device("cpu"))
    objective = StageObjective(
        state.detector, state.shape_prior, stage=cascade.stages[_STAGE], cascade=cascade, skeleton=H36M_18
    )
    return state, objective


def _train_bare(turns: _Turns, rank: int) -> None:
    """What one would write without Ray, checkpoints or metrics."""
    torch.set_num_threads(1)
    _wait_for(turns.folder / "niceness")
    os.nice(int((turns.folder / "niceness").read_text()) - os.nice(0))  # beside other work it would win
    store = f"file://{turns.folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=turns.num_workers)
    state, objective = _networks(turns.cascade)
    parallel = DistributedDataParallel(objective) if turns.num_workers > 1 else objective  # as Ray Train has it
    parameters = list(objective.parameters())
    inputs = cycle(turns.inputs(rank))
    for turn in range(turns.num_turns):
        turns.wait_for("bare", turn)
        start, start_cpu = time.perf_counter(), time.process_time()
        for step, (batch, warps) in enumerate(islice(inputs, turns.steps), turn * turns.steps):
            state.optimizer.zero_grad(set_to_none=True)
            parallel(batch, warps, step).total.backward()
            nn.utils.clip_grad_norm_(parameters, turns.cascade.gradient_clip)
            state.optimizer.step()
        _leave(turns.file("bare", turn, rank), time.perf_counter() - start, time.process_time() - start_cpu)
    _leave(turns.folder / f"bare-mib-{rank}", _peak_mib())


def _fit(turns: _Turns, manifest: Path) -> dict[str, float]:
    """Ray Train's run; what its first worker measured beyond the turns."""
    import ray.train
    from ray.train.torch import TorchTrainer

    trainer = TorchTrainer(
        partial(_train_under_ray, turns, manifest),
        scaling_config=ray.train.ScalingConfig(num_workers=turns.num_workers),
        run_config=ray.train.RunConfig(name="benchmark", storage_path=str(turns.folder / "runs")),
    )
    measured = trainer.fit().return_value
    assert measured is not None
    return measured


def _train_under_ray(turns: _Turns, manifest: Path) -> dict[str, float]:
    """The turns as ``pipelines.worker`` trains, then as many steps from shards."""
    import ray.train
    import ray.train.torch

    torch.set_num_threads(1)
    context = ray.train.get_context()
    worker = Worker(rank=context.get_world_rank(), world_size=context.get_world_size())
    if worker.rank == 0:
        _leave(turns.folder / "niceness", os.nice(0))
    cascade = turns.cascade
    state, objective = _networks(cascade)
    parallel = ray.train.torch.prepare_model(objective)
    shards = open_split(manifest.parent, read_manifest(manifest), "train", cascade)
    in_memory = _InMemory(shards, [batch for batch, _ in turns.inputs(worker.rank)])
    train = partial(run_stage, state, parallel, cascade=cascade, stage=_STAGE, worker=worker)
    steps = train(in_memory)
    report_s = list[float]()
    for turn in range(turns.num_turns):
        turns.wait_for("ray", turn)
        start, start_cpu = time.perf_counter(), time.process_time()
        for _ in islice(steps, turns.steps):
            pass
        seconds = time.perf_counter() - start, time.process_time() - start_cpu
        start = time.perf_counter()
        ray.train.report({"turn": turn})
        report_s.append(time.perf_counter() - start)
        _leave(turns.file("ray", turn, worker.rank), *seconds)  # last: the bare loop's turn begins here
    steps.close()
    metrics = list(islice(train(shards), 1, turns.num_turns * turns.steps))
    start = time.process_time()
    for step in range(turns.steps):
        shards.batch(worker.part_of(np.arange(step, step + cascade.batch_size) % len(shards)))
    return {
        "step_s": statistics.median(step.seconds for step in metrics),
        "data_wait_share": sum(step.data_wait_s for step in metrics) / sum(step.seconds for step in metrics),
        "decode_s": (time.process_time() - start) / turns.steps,
        "report_s": statistics.median(report_s),
        "peak_mib": _peak_mib(),
    }


def _print_parts() -> None:
    """CPU milliseconds of every part in every phase of the stages."""
    keep_freed_memory()
    cascade = cpu_cascade()
    batch = batch_of_people(cascade)
    names = ("backbone", "head", "renderer", "shape prior", "triangulation", "losses", "clip and Adam")
    rows = list[list[str]]()
    for number, phase in enumerate(phases(cascade)):
        seconds = interleaved_cpu_seconds(_parts(phase, cascade, batch), 9)
        renderer, triangulation = seconds.get("renderer", 0.0), seconds.get("triangulation", 0.0)
        parts = {
            **seconds,
            "head": seconds["detector"] - seconds["backbone"],
            "losses": seconds[GIVEN_JOINTS] - renderer - triangulation,
        }
        peak_mib = peak_bytes(_prepare_step, number) / 2**20
        cells = [f"{1000 * parts.get(name, 0.0):.1f}" for name in (STEP, *names)]
        rows.append([phase.title, *cells, f"{peak_mib:.0f}"])
    columns = ["stage, its steps", "step", *names, "peak, MiB"]
    print_table("CPU milliseconds of a step and its parts, forward and backward, one thread", columns, rows)


def _parts(phase: Phase, cascade: CascadeConfig, batch: Batch) -> dict[str, Callable[[], object]]:
    """``training_step.variants``, the backbone alone, and triangulation with reprojection alone."""
    state = create_state(cascade, H36M_18, torch.device("cpu"))
    pyramid = state.detector.features
    backbone = nn.Sequential(pyramid.get_submodule("stem"), *pyramid.get_submodule("blocks").children())
    num_warped = cascade.batch_size * (cascade.equivariance_views or batch.valid.shape[1])
    images = batch.image.flatten(0, 1)
    images = torch.cat([images, images[:num_warped]])
    pull = torch.randn_like(backbone(images))
    shape = (*batch.valid.shape, H36M_18.num_joints)
    seen = Seen(keypoints_ndc=0.3 * torch.randn(*shape, 2), depth_ndc=0.1 * torch.randn(shape))

    def backbone_alone() -> None:
        backbone.zero_grad()
        backbone(images).backward(pull)

    def triangulation() -> None:
        keypoints = seen.keypoints_ndc.clone().requires_grad_()
        found = reproject(
            replace(seen, keypoints_ndc=keypoints),
            batch,
            skeleton=H36M_18,
            depth_range_mm=cascade.detector.depth_range_mm,
            resolve_names=phase.stage.resolve_names,
        )
        found.seen.keypoints_ndc.sum().backward()

    parts = {**variants(phase, cascade, batch), "backbone": backbone_alone}
    if phase.steps.start >= phase.stage.num_direct_only_steps:
        parts["triangulation"] = triangulation
    return parts


def _prepare_step(number: int) -> Callable[[], object]:
    """The whole step of a phase, for ``peak_bytes``."""
    cascade = cpu_cascade()
    phase = next(islice(phases(cascade), number, None))
    return variants(phase, cascade, batch_of_people(cascade))[STEP]


def _wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(_POLL_S)


def _leave(file: Path, *figures: float) -> None:
    unfinished = file.with_name(f"unfinished-{file.name}")
    unfinished.write_text(" ".join(map(str, figures)))
    unfinished.rename(file)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    raise SystemExit(main())
