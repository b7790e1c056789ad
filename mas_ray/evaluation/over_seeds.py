"""Figures of trainings that differ in their seed alone: their mean, and how far they lie apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields

from mas_ray.config.published import Figures


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What goes with the means of a row's figures."""

    deviation: Figures
    """Standard deviations of the seeds, with n - 1 in the denominator; None where there are fewer than two."""
    num_seeds: int


def mean_and_deviation(values: Sequence[float]) -> tuple[float | None, float | None]:
    """The mean, None of nothing; and the standard deviation with n - 1, None of fewer than two."""
    return (
        statistics.fmean(values) if values else None,
        statistics.stdev(values) if len(values) > 1 else None,
    )


def figures_over_seeds(seeds: Sequence[Figures]) -> tuple[Figures, Spread]:
    """The means of a row's figures over its seeds, and what goes with them.

    A figure that one of the seeds does not have has no mean: that of the others would be of fewer seeds than it says.
    """
    means: dict[str, float | None] = {}
    deviations: dict[str, float | None] = {}
    for name in (field.name for field in fields(Figures)):
        values = [value for of_seed in seeds if (value := getattr(of_seed, name)) is not None]
        means[name], deviations[name] = mean_and_deviation(values if len(values) == len(seeds) else [])
    return Figures(**means), Spread(deviation=Figures(**deviations), num_seeds=len(seeds))
