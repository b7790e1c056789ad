"""Steps that must not reach the weights: found alike by all workers, and told with the frame sets that made them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mas_ray.config.jobs import BadSteps

_FEWEST_BEFORE = 10  # gradient norms that make a median


@dataclass(frozen=True, kw_only=True)
class BadStep:
    """A step that was not taken. All workers hold equal ones."""

    stage: str
    step: int
    reason: str
    single_view: bool
    """Whether the rows are the single-view dataset's."""
    rows: tuple[int, ...]
    """Of the workers whose loss is not finite, or of all workers where every loss is."""
    frame_sets: tuple[tuple[str, int], ...]
    """Take and instant of each row."""
    losses: dict[str, float]
    """Every term of one worker with such rows."""

    def __str__(self) -> str:
        split = "single-view split" if self.single_view else "split"
        return f"{self.reason} in stage {self.stage!r}, step {self.step}, rows {list(self.rows)} of the {split}"

    def to_json(self) -> dict[str, Any]:
        """As plain values; losses that are not finite as text, which JSON has no numbers for."""
        losses = {name: value if math.isfinite(value) else str(value) for name, value in self.losses.items()}
        frame_sets = [
            {"row": row, "take": take, "instant": instant}
            for row, (take, instant) in zip(self.rows, self.frame_sets, strict=True)
        ]
        return {
            "stage": self.stage,
            "step": self.step,
            "reason": self.reason,
            "split": "single_view" if self.single_view else "train",
            "frame_sets": frame_sets,
            "losses": losses,
        }


class BadStepError(FloatingPointError):
    """A bad step that the job does not let pass."""

    def __init__(self, bad_step: BadStep) -> None:
        super().__init__(bad_step)
        self.bad_step = bad_step


def backward(loss: Tensor) -> None:
    """Gradients of a loss; all of them NaN where the loss is not finite, whatever its derivatives say.

    So what one worker finds reaches the others with the sum of the gradients, which they wait for anyway, and none is
    left waiting for one that has stopped.
    """
    loss.backward(torch.where(torch.isfinite(loss.detach()), 1.0, torch.nan).to(loss))


def fault(norm: float, before: Sequence[float], policy: BadSteps) -> str | None:
    """What is wrong with a step whose gradient, summed over all workers, has this norm; None: nothing.

    Args:
        norm: Before clipping.
        before: Norms of the steps that this epoch has taken. An epoch alone, so that a resumed run decides alike.
        policy: The job's.
    """
    if not math.isfinite(norm):
        return "gradient is not finite"
    if policy.explodes_above is not None and len(before) >= _FEWEST_BEFORE:
        median = statistics.median(before)
        if norm > policy.explodes_above * median:
            return f"gradient explodes (norm {norm:.3g} after a median of {median:.3g})"
    return None


def of_all_workers(values: Sequence[float], device: torch.device, *, rank: int, world_size: int) -> list[list[float]]:
    """Each worker's values in the order of ranks; every worker has to call it."""
    table = torch.zeros(world_size, len(values), dtype=torch.float64, device=device)
    table[rank] = torch.tensor(values, dtype=torch.float64)
    if world_size > 1:
        torch.distributed.all_reduce(table)
    return table.tolist()
