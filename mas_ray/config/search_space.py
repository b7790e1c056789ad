"""The dimensions of a search space: which field of a job varies, and over which values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

Value = bool | int | float | str | tuple[str, ...] | None
"""What a trial has in a field."""


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """A number from ``low`` to ``high``, each as likely as any other."""

    field: str
    """Path of the field in the base job (``config.field_paths``). With ``*`` all its fields have the same number."""
    low: float
    high: float
    step: float | None = None
    """Only ``low`` plus multiples of it, up to ``high``; None: everything in between. Integers if both are whole, and
    only then can it be the value of a field of integers."""
    scales: bool = False
    """The number is a factor of what the base job has in each field. Fields of integers have the nearest one."""

    def __post_init__(self) -> None:
        _check_finite(self.field, low=self.low, high=self.high, step=self.step)
        if not self.low < self.high:
            raise ValueError(f"high: expected more than {self.low} for {self.field}, got {self.high}")
        if self.step is not None:
            steps = (self.high - self.low) / self.step if self.step > 0 else 0.0
            if round(steps) < 1 or not math.isclose(steps, round(steps), rel_tol=1e-9):
                raise ValueError(
                    f"step: expected a whole number of steps from {self.low} to {self.high} for {self.field}, "
                    f"got a step of {self.step}"
                )


@dataclass(frozen=True, kw_only=True)
class LogUniform:
    """A number from ``low`` to ``high``, its logarithm uniform."""

    field: str
    """Path of the field in the base job. With ``*`` all its fields have the same number."""
    low: float
    high: float
    scales: bool = False
    """The number is a factor of what the base job has in each field. Fields of integers have the nearest one."""

    def __post_init__(self) -> None:
        _check_finite(self.field, low=self.low, high=self.high)
        if self.low <= 0:
            raise ValueError(f"low: expected more than 0 for {self.field}, which is logarithmic, got {self.low}")
        if not self.low < self.high:
            raise ValueError(f"high: expected more than {self.low} for {self.field}, got {self.high}")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of some values, each as likely as any other."""

    field: str
    """Path of the field in the base job. With ``*`` all its fields have the same value."""
    values: tuple[Value, ...]
    """Numbers, names, True and False, None, or tuples of names, as ``without`` has."""

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) != len(self.values):
            raise ValueError(f"values: expected different ones for {self.field}, got {self.values}")
        for value in self.values:
            _check_finite(self.field, values=value if isinstance(value, float) else None)


@dataclass(frozen=True, kw_only=True)
class Dependent:
    """Not drawn: a factor times the number of another dimension. If that one scales, so does this."""

    field: str
    """Path of the field in the base job. With ``*`` all its fields have the same number."""
    of: str
    """The ``field`` of the other dimension, which is drawn."""
    factor: float
    """Fields of integers have the integer nearest to the product."""

    def __post_init__(self) -> None:
        _check_finite(self.field, factor=self.factor)


Drawn = Uniform | LogUniform | Choice
Dimension = Uniform | LogUniform | Choice | Dependent


def is_whole(dimension: Uniform) -> bool:
    """Whether all its numbers are integers."""
    return dimension.step is not None and float(dimension.low).is_integer() and float(dimension.step).is_integer()


def grid_values(dimension: Drawn) -> tuple[Value, ...]:
    """All values of a dimension in order, without the noise of sums of fractions: 0.1 to 0.3 by 0.1 has 0.2 and 0.3.

    Raises:
        ValueError: It has no end of values.
    """
    if isinstance(dimension, Choice):
        return dimension.values
    if isinstance(dimension, LogUniform) or dimension.step is None:
        raise ValueError(f"{dimension.field} is continuous; a grid needs a Choice, or a Uniform with a step")
    low, step = (Decimal(repr(float(number))) for number in (dimension.low, dimension.step))
    numbers = [low + i * step for i in range(round((dimension.high - dimension.low) / dimension.step) + 1)]
    return tuple(int(number) if is_whole(dimension) else float(number) for number in numbers)


def ends(dimension: Drawn) -> tuple[Value, ...]:
    """The lowest and the highest value of a dimension; of choices, every one."""
    if isinstance(dimension, Choice):
        return dimension.values
    if isinstance(dimension, Uniform) and is_whole(dimension):
        return int(dimension.low), round(dimension.high)
    return float(dimension.low), float(dimension.high)


def _check_finite(field: str, **numbers: float | None) -> None:
    for name, number in numbers.items():
        if number is not None and not math.isfinite(number):
            raise ValueError(f"{name}: expected finite numbers for {field}, got {number}")
