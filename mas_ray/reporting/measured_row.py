"""What is measured of one recipe for the tables."""

from __future__ import annotations

from dataclasses import dataclass

from mas_ray.evaluation.record import Evaluation, SupervisedErrors


@dataclass(frozen=True, kw_only=True)
class MeasuredRow:
    """A recipe after training."""

    name: str
    """As ``AblationRow.name``."""
    reconstruction: float | None
    """Mask losses of the views' own joints on the measured split, as the recipe's last stage weighs them; None if they
    were not taken."""
    evaluation: Evaluation
    supervised: tuple[SupervisedErrors, ...]
    """After SPP by each of its maps, the linear one first, which uses labels; only for a row of that kind."""
