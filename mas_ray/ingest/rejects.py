"""What was left out of a dataset, and why: merely bad data is counted here and is no exception."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mas_ray.shards.manifest import RejectCount

Level = Literal["take", "instant", "view"]


@dataclass(frozen=True, kw_only=True)
class Reject:
    """A take, an instant of it, or one view of an instant that yields no row.

    ``reason`` is one word to count by; ``detail`` a line for whoever looks into it, without absolute paths.
    """

    take_id: str
    reason: str
    instant: int | None = None
    view: str | None = None
    detail: str = ""


class MachineError(RuntimeError):
    """Something failed that is no fault of the take: another try may do."""


class BadTakeError(ValueError):
    """A take that cannot be ingested at all; ``reason`` is the one word to count it by."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def copy_reject(take_id: str, kept: str, reason: Literal["duplicate", "near_duplicate"]) -> Reject:
    """A take that is left out for being like one that is kept."""
    return Reject(take_id=take_id, reason=reason, detail=f"like {kept}, which is kept")


def count_rejects(rejects: Iterable[Reject]) -> tuple[RejectCount, ...]:
    """Rejects per level and reason, in a fixed order."""
    counts: Counter[tuple[Level, str]] = Counter((_level(reject), reject.reason) for reject in rejects)
    return tuple(
        RejectCount(reason=reason, level=level, count=count) for (level, reason), count in sorted(counts.items())
    )


def _level(reject: Reject) -> Level:
    if reject.view is not None:
        return "view"
    return "take" if reject.instant is None else "instant"
