"""A sweep as data: what varies in a training job, how it is searched, and when a trial is given up."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mas_ray.config.ablations import ablated
from mas_ray.config.field_paths import matching, values_at, with_values
from mas_ray.config.jobs import TrainJob
from mas_ray.config.search_space import Dependent, Dimension, Drawn, LogUniform, Uniform, Value, ends, grid_values


@dataclass(frozen=True, kw_only=True)
class GridSearch:
    """Every combination of the values of a space of choices and steps."""


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """Trials drawn independently of one another."""

    num_trials: int

    def __post_init__(self) -> None:
        _check_at_least(1, num_trials=self.num_trials)


@dataclass(frozen=True, kw_only=True)
class TpeSearch:
    """Trials drawn where those before were good: the tree-structured Parzen estimator (Bergstra et al., 2011)."""

    num_trials: int

    def __post_init__(self) -> None:
        _check_at_least(1, num_trials=self.num_trials)


@dataclass(frozen=True, kw_only=True)
class Asha:
    """Asynchronous successive halving: a trial goes on past a rung only if it is among the best that came so far."""

    grace_epochs: int
    """Of all stages of a trial together: no trial is stopped before; also the first rung."""
    reduction_factor: float = 3.0
    """Each rung has so many times the epochs of the one before, and lets one in so many trials pass."""

    def __post_init__(self) -> None:
        _check_at_least(1, grace_epochs=self.grace_epochs)
        if not 1 < self.reduction_factor < math.inf:
            raise ValueError(f"reduction_factor: expected more than 1, got {self.reduction_factor}")


@dataclass(frozen=True, kw_only=True)
class TuneJob:
    """Train variations of a job and rank them by a yardstick that no variation changes, without labels."""

    base: TrainJob
    """What varies. Its name is the sweep's, and ``<storage>/<name>`` its folder. Trials that begin with a later stage
    have the checkpoint of the one before as ``initial``."""
    space: tuple[Dimension, ...]
    search: GridSearch | RandomSearch | TpeSearch
    early_stopping: Asha | None = None
    """None trains every trial to its end."""
    stages: tuple[str, ...] = ()
    """Stages of the base's cascade that a trial trains; empty: all of them."""
    seed: int = 0
    """Of what is drawn. Trials train with the seed of their cascade."""
    max_concurrent: int | None = None
    """Trials at once; None: as many as the cluster can hold when the sweep starts. Say it of a cluster that grows."""
    max_failures: int = 2
    """Restarts of a trial whose driver died."""

    def __post_init__(self) -> None:
        _check_at_least(0, seed=self.seed, max_failures=self.max_failures)
        if self.max_concurrent is not None:
            _check_at_least(1, max_concurrent=self.max_concurrent)
        known = [stage.name for stage in self.base.cascade.stages]
        for name in self.stages:
            if name not in known:
                raise ValueError(f"stages: the cascade has no stage {name!r}, only {', '.join(known)}")
        _check_fields(self)
        _check_ends(self)


def drawn_dimensions(job: TuneJob) -> tuple[Drawn, ...]:
    """The dimensions that a search draws: all but the dependent ones."""
    return tuple(dimension for dimension in job.space if not isinstance(dimension, Dependent))


def trial_job(job: TuneJob, drawn: Mapping[str, Value]) -> TrainJob:
    """The base job with what was drawn, and only the stages that trials train.

    Args:
        job: The sweep.
        drawn: The value of every dimension that is drawn, by its ``field``.

    Raises:
        ValueError: A dimension has no value, a value has no dimension, or the job does not take one.
    """
    dimensions = {dimension.field: dimension for dimension in drawn_dimensions(job)}
    if odd := sorted(set(drawn) ^ set(dimensions)):
        raise ValueError(f"{odd[0]}: expected a value for every dimension that is drawn, and no others")
    base = with_values(job.base, {})  # a whole number where a fraction belongs is now a fraction
    values: dict[str, Any] = {}
    for dimension in job.space:
        source = dimensions[dimension.of] if isinstance(dimension, Dependent) else dimension
        for path, before in values_at(base, dimension.field).items():
            factors = [dimension.factor] if isinstance(dimension, Dependent) else []
            if isinstance(source, Uniform | LogUniform) and source.scales:
                factors.append(_number(before, path))
            value = drawn[source.field]
            if factors:
                product = math.prod([_number(value, source.field), *factors])
                value = round(product) if isinstance(before, int) else product
            values[path] = value
    trial = with_values(base, values)
    if job.stages:
        stages = tuple(stage for stage in trial.cascade.stages if stage.name in job.stages)
        trial = replace(trial, cascade=replace(trial.cascade, stages=stages))
    return trial


def grid(job: TuneJob) -> list[dict[str, Value]]:
    """What every trial of a grid search draws; the last dimension varies fastest.

    Raises:
        ValueError: A dimension is continuous.
    """
    dimensions = drawn_dimensions(job)
    fields = [dimension.field for dimension in dimensions]
    return [dict(zip(fields, values, strict=True)) for values in itertools.product(*map(grid_values, dimensions))]


# They say where a sweep lies, how its trials are measured and on what, and how many fit into a cluster.
_SAME_IN_ALL_TRIALS = (
    "manifest",
    "storage",
    "checkpoints",
    "name",
    "workers",
    "yardstick",
    "tracking_uri",
    "registered_model",
)


def _check_fields(job: TuneJob) -> None:
    """Every field of the space is there, may vary, and is named by one dimension alone."""
    drawn = drawn_dimensions(job)
    if not drawn:
        raise ValueError("space: expected at least one dimension that is drawn")
    for dimension in job.space:
        if isinstance(dimension, Dependent) and dimension.of not in (other.field for other in drawn):
            raise ValueError(f"space: {dimension.field} depends on {dimension.of}, which is not drawn")
    if isinstance(job.search, GridSearch):
        for dimension in drawn:
            try:
                grid_values(dimension)
            except ValueError as error:
                raise ValueError(f"space: {error}") from None
    owners: dict[str, str] = {}
    for dimension in job.space:
        try:
            paths = matching(job.base, dimension.field)
        except ValueError as error:
            raise ValueError(f"space: {error}") from None
        for path in paths:
            if path.partition(".")[0] in _SAME_IN_ALL_TRIALS:
                raise ValueError(f"space: {dimension.field} must be the same in all trials")
            for other, owner in owners.items():
                if f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}."):
                    raise ValueError(f"space: {dimension.field} names {path}, and so does {owner}")
        owners |= dict.fromkeys(paths, dimension.field)


def _check_ends(job: TuneJob) -> None:
    """Every dimension makes a difference, and with either end of any other both its ends make a valid job."""
    dimensions = drawn_dimensions(job)
    for corner in (0, -1):
        others = {dimension.field: ends(dimension)[corner] for dimension in dimensions}
        for dimension in dimensions:
            trials = [_checked_trial(job, others, dimension.field, value) for value in ends(dimension)]
            if len(trials) > 1 and trials[0] == trials[-1]:
                raise ValueError(f"space: {dimension.field} changes nothing that a trial trains")


def _checked_trial(job: TuneJob, others: Mapping[str, Value], field: str, value: Value) -> TrainJob:
    try:
        trial = trial_job(job, {**others, field: value})
        ablated(trial.cascade, trial.without)
    except ValueError as error:
        raise ValueError(f"space: {field} = {value!r}: {error}") from None
    return trial


def _number(value: Any, path: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{path}: expected a number to multiply, got {value!r}")
    return value


def _check_at_least(least: int, **numbers: int) -> None:
    for name, number in numbers.items():
        if number < least:
            raise ValueError(f"{name}: expected at least {least}, got {number}")
