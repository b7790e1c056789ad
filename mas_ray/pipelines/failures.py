"""What goes wrong in a stage: which failures would come again however often they are retried, and what helps."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from ray.train import UserCallback

from mas_ray.config.jobs import TrainJob


class LastingError(RuntimeError):
    """A worker's failure that would come again; the message is the worker's."""


class StopAtOnce(UserCallback):
    """Keeps Ray Train from retrying what would fail again: wrong inputs, bad steps, and too little memory.

    Its failure policy retries every exception of a worker, but nothing that a callback raises in the controller: the
    run ends with that error, and with it the workers that wait for the one that failed.
    """

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, Exception]) -> None:
        """Called in the controller process with what workers raised, by their ranks."""
        for error in worker_exceptions.values():
            if isinstance(error, (ValueError, FloatingPointError, MemoryError)):
                raise LastingError(str(error))


@contextmanager
def memory_explained(job: TrainJob, device: torch.device) -> Generator[None]:
    """Let a block that runs out of memory say what to change in the job.

    Raises:
        MemoryError: It did; one line.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_lack_of_memory(error):
            raise
        raise MemoryError(f"out of memory on {device.type}: {_what_helps(job, device)}") from error


def _what_helps(job: TrainJob, device: torch.device) -> str:
    cascade, num = job.cascade, job.workers.num
    helps = (
        f"lower cascade.batch_size (now {cascade.batch_size} frame sets over {num} worker{'s' if num > 1 else ''}) "
        f"or cascade.equivariance_views (now {cascade.equivariance_views or 'all'}) under another run name"
    )
    if device.type == "cpu":
        return helps
    bfloat16 = "" if job.execution.precision == "bfloat16" else ", or set execution.precision to bfloat16"
    return f"{helps}, or raise workers.num{bfloat16}"


def _is_lack_of_memory(error: BaseException) -> bool:
    """Of the GPU, of the host under NumPy, or of the host under torch, whose allocator raises a plain RuntimeError."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return "DefaultCPUAllocator" in str(error) and "memory" in str(error)
