"""What a job's workers ask of a cluster, and what it lacks for them. Arithmetic, without Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mas_ray.config.ingest import SamMasks, SamWorkers
from mas_ray.config.jobs import IngestJob, TrainJob, Workers
from mas_ray.config.sweep import TuneJob

WORKER_MEMORY_BYTES = 2**30
"""Of a training worker, at least."""

Pool = Workers | SamWorkers
"""Processes that a job holds all at once."""


def pools(job: object) -> tuple[Pool, ...]:
    """What a job of any kind holds at once: of a sweep, one trial's; nothing for a job that is one process."""
    match job:
        case IngestJob(masks=SamMasks(), sam_workers=SamWorkers() as beside):
            return (job.workers, beside)
        case IngestJob() | TrainJob():
            return (job.workers,)
        case TuneJob():
            return (job.base.workers,)
        case _:
            return ()


def memory_each_bytes(job: object) -> int:
    """Memory that each worker of a job needs at least, as far as that is known beforehand."""
    return WORKER_MEMORY_BYTES if isinstance(job, TrainJob | TuneJob) else 0


def shortage(there: Mapping[str, float], asked: Sequence[Pool], what: str, *, memory_each_bytes: int = 0) -> str | None:
    """What is lacking to hold all workers at once; None if nothing is.

    Args:
        there: The cluster's resources by Ray's names.
        asked: The pools; those of training come alone.
        what: What asks for them, for the message.
        memory_each_bytes: Memory that each worker needs at least.
    """
    num = sum(pool.num for pool in asked)
    sums = {
        "CPU": (sum(pool.num * pool.cpus_each for pool in asked), 1, "CPUs"),
        "GPU": (sum(pool.num * pool.gpus_each for pool in asked), 1, "GPUs"),
        "memory": (num * memory_each_bytes, 2**30, "GiB of memory"),
    }
    for resource, (amount, unit, name) in sums.items():
        if amount > there.get(resource, 0):
            return (
                f"{what} asks for {num} workers with {amount / unit:g} {name} together, "
                f"Ray has {there.get(resource, 0) / unit:g}"
            )
    return None
