"""What a sweep tries next, by Optuna: a study made anew from the trials so far, so that nothing else is to be kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from mas_ray.config.search_space import Choice, Drawn, LogUniform, Uniform, Value, grid_values, is_whole
from mas_ray.config.sweep import GridSearch, RandomSearch, TuneJob, drawn_dimensions, grid
from mas_ray.pipelines.sweep_folder import Trial, short_names

_STATES = {"finished": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}


def num_trials(job: TuneJob) -> int:
    """How many trials a sweep has in all."""
    return len(grid(job)) if isinstance(job.search, GridSearch) else job.search.num_trials


def draw(job: TuneJob, number: int, trials: Sequence[Trial]) -> dict[str, Value]:
    """The values of a trial by the field that the space names.

    A grid's and a random search's depend on the job and the number alone; those of TPE on the trials so far as well, of
    which it takes running ones for bad ones, so that it does not draw the same again beside them.
    """
    if isinstance(job.search, GridSearch):
        return grid(job)[number]
    seed = int(np.random.SeedSequence([job.seed, number]).generate_state(1)[0])
    if isinstance(job.search, RandomSearch):
        study = _empty_study(RandomSampler(seed=seed))
    else:
        study = study_of(job, trials, TPESampler(seed=seed, multivariate=True, constant_liar=True))
    drawn = study.ask(_distributions(job)).params
    return {field: _value(label, job, field) for field, label in drawn.items()}


def study_of(job: TuneJob, trials: Sequence[Trial], sampler: BaseSampler) -> optuna.Study:
    """The trials of a sweep as an Optuna study in memory, for its samplers."""
    return _study(job, trials, sampler, {field: field for field in _distributions(job)})


def study_to_plot(job: TuneJob, trials: Sequence[Trial]) -> optuna.Study:
    """The trials of a sweep as an Optuna study in memory, for its plots: fields have short names."""
    return _study(job, trials, None, short_names(list(_distributions(job))))


def _study(
    job: TuneJob, trials: Sequence[Trial], sampler: BaseSampler | None, names: Mapping[str, str]
) -> optuna.Study:
    study = _empty_study(sampler)
    distributions = {names[field]: distribution for field, distribution in _distributions(job).items()}
    for trial in trials:
        state = TrialState.RUNNING if trial.outcome is None else _STATES[trial.outcome.ending]
        if state == TrialState.COMPLETE and trial.score is None:
            state = TrialState.FAIL
        study.add_trial(
            create_trial(
                state=state,
                value=trial.score if state == TrialState.COMPLETE else None,
                params={names[field]: _label(value) for field, value in trial.drawn.items()},
                distributions=distributions,
                intermediate_values={told.num_epochs: told.score for told in trial.told},
            )
        )
    return study


def _empty_study(sampler: BaseSampler | None) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="minimize", sampler=sampler)


def _distributions(job: TuneJob) -> dict[str, BaseDistribution]:
    return {dimension.field: _distribution(dimension) for dimension in drawn_dimensions(job)}


def _distribution(dimension: Drawn) -> BaseDistribution:
    if isinstance(dimension, Choice):
        return CategoricalDistribution([_label(value) for value in dimension.values])
    if isinstance(dimension, LogUniform):
        return FloatDistribution(dimension.low, dimension.high, log=True)
    if is_whole(dimension):
        return IntDistribution(int(dimension.low), int(dimension.high), step=int(dimension.step or 1))
    return FloatDistribution(dimension.low, dimension.high, step=dimension.step)


def _label(value: Value) -> str | int | float | bool | None:
    """Optuna's categories are plain values."""
    return json.dumps(value) if isinstance(value, tuple) else value


def _value(label: Value, job: TuneJob, field: str) -> Value:
    """What Optuna's value stands for; a multiple of a fraction is the one that a grid has."""
    dimension = next(dimension for dimension in drawn_dimensions(job) if dimension.field == field)
    if isinstance(dimension, Choice):
        return next(value for value in dimension.values if _label(value) == label)
    if isinstance(dimension, Uniform) and dimension.step is not None:
        number = cast(float, label)
        return min(cast(tuple[float, ...], grid_values(dimension)), key=lambda value: abs(value - number))
    return label
