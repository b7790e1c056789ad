"""Kill a training again and again, and see that it ends in the same losses and weights.

    python tests/series/kill_train.py --driver-kills 5 --worker-kills 5 --num-workers 1

One run of a small cascade is left alone; another one of the same job has its driver, or one of its workers, killed by
SIGKILL at random moments of its three stages, and is started again until all kills are done and it has ended. The
warm-up windows of a stage end within its epochs 2 to 6 of 7, so most kills fall into one. Every line of the loss trace,
and every weight and optimiser moment of the checkpoints that are kept, must be equal: bit for bit with one worker, to a
relative 1e-6 with more. The suite has one kill of each (tests/pipelines/test_train.py); this is the long series.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch

from mas_ray.config import codec
from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.config.ingest import BackgroundMasks, CropConfig, SplitBySubject
from mas_ray.config.jobs import IngestJob, TrainJob, Workers
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import write_corpus
from mas_ray.tracking.spool import read_spool

_EPOCHS, _STEPS = 7, 10
_TOLERANCE = 1e-6  # relative, with more than one worker
_COMPARED = ("stage", "epoch", "step", "loss/", "gradient_norm", "learning_rate", "validation/")
_LONGEST_S = 1200.0
_POLL_S = 0.1


@dataclass(frozen=True, kw_only=True, order=True)
class _Kill:
    """Once so many epochs of a stage are reported, a share of an epoch's time later."""

    stage: int
    epoch: int
    share: float
    what: str


def main() -> int:
    """Run the series; status 1 if anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--driver-kills", type=int, default=5)
    parser.add_argument("--worker-kills", type=int, default=5)
    parser.add_argument("--num-workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mas-ray-kills-") as name:
        folder = Path(name)
        calm = TrainJob(
            manifest=str(_dataset(folder)),
            storage=str(folder / "calm"),
            cascade=_cascade(),
            workers=Workers(num=flags.num_workers),
            max_failures=flags.worker_kills,
        )
        stormy = replace(calm, storage=str(folder / "stormy"))
        start = time.monotonic()
        if _start(calm).wait(_LONGEST_S) != 0:
            raise SystemExit("the undisturbed run failed")
        print(f"undisturbed, {flags.num_workers} workers: {time.monotonic() - start:.0f} s", flush=True)
        kills = _draw_kills(
            random.Random(flags.seed), ["driver"] * flags.driver_kills + ["worker"] * flags.worker_kills
        )
        status = _run_through(stormy, kills, epoch_s=_seconds_per_epoch(_run(calm)))
        differences = list(_differences(calm, stormy, 0.0 if flags.num_workers == 1 else _TOLERANCE))
        print(f"last run: status {status}", *differences, "DIFFERENT" if differences else "EQUAL", sep="\n")
    return int(bool(differences) or status != 0)


def _dataset(folder: Path) -> Path:
    """Three people: one to train on, one to validate on, one that is left out."""
    corpus = SyntheticConfig(
        num_subjects=3, takes_per_subject=1, instants_per_take=16, fps=8, width_px=128, height_px=128
    )
    write_corpus(folder / "corpus", corpus)
    job = IngestJob(
        root=str(folder / "corpus"),
        output=str(folder / "dataset"),
        masks=BackgroundMasks(plate="given"),
        crop=CropConfig(size_px=96),
        curation=None,
        split=SplitBySubject(validation=("s01",), test=("s02",)),
    )
    (folder / "ingest.json").write_text(codec.dumps(job))
    subprocess.run([*_COMMAND, "ingest", "--job", str(folder / "ingest.json")], check=True, capture_output=True)
    return folder / "dataset" / "manifest.json"


def _cascade() -> CascadeConfig:
    windows: dict[str, Any] = {
        "num_anchor_only_steps": 15,
        "mask_ramp_steps": 10,
        "physique_ramp_steps": 20,
        "num_direct_only_steps": 25,
        "num_tied_limb_steps": 45,
        "num_anchor_steps": 55,
    }
    stages = tuple(replace(s, learning_rates=((4, 2e-3), (3, 1e-3)), **windows) for s in cpu_cascade().stages)
    detector = replace(cpu_cascade().detector, width=8, head_width=16)
    return replace(cpu_cascade(), stages=stages, detector=detector, steps_per_epoch=_STEPS)


def _draw_kills(moments: random.Random, whats: list[str]) -> list[_Kill]:
    """Every kill in an epoch of its own: between two of them the run must have gone on."""
    moments.shuffle(whats)
    places = moments.sample([(stage, epoch) for stage in range(3) for epoch in range(_EPOCHS)], len(whats))
    return sorted(
        _Kill(stage=stage, epoch=epoch, share=moments.random(), what=what)
        for (stage, epoch), what in zip(places, whats, strict=True)
    )


_COMMAND = [sys.executable, "-m", "mas_ray.cli.main"]


def _start(job: TrainJob) -> subprocess.Popen[bytes]:
    Path(job.storage).mkdir(exist_ok=True)
    record = Path(job.storage) / "asked.json"
    record.write_text(codec.dumps(job))
    log = (Path(job.storage) / "log.txt").open("ab")
    return subprocess.Popen([*_COMMAND, "train", "--job", str(record)], stdout=log, stderr=log)


def _run(job: TrainJob) -> Path:
    return Path(job.storage) / job.name


def _spool(job: TrainJob, stage: int) -> Path:
    return _run(job) / "stages" / f"{stage}-{job.cascade.stages[stage].name}" / "metrics.jsonl"


def _seconds_per_epoch(run: Path) -> float:
    times_ms = [epoch["time_ms"] for path in run.glob("stages/*/metrics.jsonl") for epoch in read_spool(path)]
    return (max(times_ms) - min(times_ms)) / 1000 / len(times_ms)


def _run_through(job: TrainJob, kills: list[_Kill], *, epoch_s: float) -> int:
    """Run a job to its end through all kills; the last run's status."""
    remaining, family = list(kills), list[psutil.Process]()
    process = _start(job)
    try:
        while remaining and process.poll() is None:
            kill = remaining[0]
            if len(_workers(process)) < job.workers.num or len(read_spool(_spool(job, kill.stage))) < kill.epoch:
                time.sleep(_POLL_S)
                continue
            time.sleep(kill.share * epoch_s)
            workers = _workers(process)
            if len(workers) < job.workers.num:  # the others of a group that has lost one
                continue
            family += psutil.Process(process.pid).children(recursive=True)
            victim = psutil.Process(process.pid) if kill.what == "driver" else workers[-1]
            victim.send_signal(signal.SIGKILL)
            remaining.pop(0)
            epochs = len(read_spool(_spool(job, kill.stage)))
            print(f"  killed {kill.what} in stage {kill.stage}, {epochs} of {_EPOCHS} epochs reported", flush=True)
            if kill.what == "worker":
                psutil.wait_procs(workers, timeout=60)  # the whole group goes
                continue
            process.wait()
            process = _start(job)
        status = process.wait(_LONGEST_S)
    finally:
        process.kill()
        for orphan in psutil.wait_procs(family, timeout=60)[1]:
            orphan.kill()
    if remaining:
        log = (Path(job.storage) / "log.txt").read_text()
        raise SystemExit(f"{log[-2000:]}\nstatus {status}, with {len(remaining)} kills still to come")
    return status


def _workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes that train, once they do."""
    found = list[psutil.Process]()
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if "RayTrainWorker" in "".join(child.cmdline()):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def _differences(calm: TrainJob, stormy: TrainJob, tolerance: float) -> Iterator[str]:
    """What the loss traces and the kept checkpoints do not have in common."""
    largest = 0.0
    for stage in range(len(calm.cascade.stages)):
        expected, found = (read_spool(_spool(job, stage)) for job in (calm, stormy))
        if len(expected) != _EPOCHS or len(found) != _EPOCHS:
            yield f"stage {stage}: {len(expected)} and {len(found)} epochs, expected {_EPOCHS}"
        for ours, theirs in zip(expected, found, strict=False):
            for name in (name for name in ours if name.startswith(_COMPARED)):
                apart = _apart(theirs[name], ours[name])
                largest = max(largest, apart)
                if apart > tolerance:
                    yield f"stage {stage}, epoch {ours['epoch']}: {name} is {theirs[name]}, undisturbed {ours[name]}"
        folder, other = _spool(calm, stage).parent, _spool(stormy, stage).parent
        kept = sorted(path.parent.name for path in folder.glob("*/FORMAT"))
        if kept != sorted(path.parent.name for path in other.glob("*/FORMAT")):
            yield f"stage {stage}: other checkpoints are kept than {', '.join(kept)}"
            continue
        for file in (folder / name / part for name in kept for part in ("model.pt", "optimizer.pt")):
            pairs = zip(_tensors(file), _tensors(other / file.relative_to(folder)), strict=True)
            apart = max(_apart(theirs, ours) for ours, theirs in pairs)
            largest = max(largest, apart)
            if apart > tolerance:
                yield f"{file.relative_to(folder.parent)}: weights are {apart:.1e} apart"
    print(f"largest relative difference of losses, weights and moments: {largest:.1e}")


def _apart(found: Any, expected: Any) -> float:
    """Relative difference; that of texts is 0 or 1."""
    if isinstance(expected, torch.Tensor):
        difference = (found.double() - expected.double()).norm()
        return float(difference / expected.double().norm()) if difference > 0 else 0.0
    if isinstance(expected, str):
        return float(found != expected)
    return abs(found - expected) / abs(expected) if found != expected else 0.0


def _tensors(file: Path) -> Iterator[torch.Tensor]:
    def walk(value: Any) -> Iterator[torch.Tensor]:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, dict):
            for item in value.values():
                yield from walk(item)

    return walk(torch.load(file, weights_only=True))


if __name__ == "__main__":
    raise SystemExit(main())
