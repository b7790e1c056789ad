"""What the label-free recipe is held to, on people that it never saw, with an easy front cue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mas_ray.evaluation.record import Evaluation
from mas_ray.evaluation.summary import summarise


@dataclass(frozen=True, kw_only=True)
class BarOutcome:
    """A figure beside its bar."""

    figure: str
    value: float | None
    """None where nothing was comparable; the bar is then missed."""
    kind: Literal["at most", "more than"]
    limit: float
    met: bool


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One figure and the side of the limit on which it belongs."""

    figure: str
    value: Callable[[Evaluation], float | None]
    kind: Literal["at most", "more than"] = "at most"
    limit: float

    def outcome(self, evaluation: Evaluation) -> BarOutcome:
        """Whether an evaluation meets it."""
        value = self.value(evaluation)
        met = value is not None and (value <= self.limit if self.kind == "at most" else value > self.limit)
        return BarOutcome(figure=self.figure, value=value, kind=self.kind, limit=self.limit, met=met)


def _chirality_in_standard_errors(evaluation: Evaluation) -> float | None:
    chirality = evaluation.knee_chirality_of_takes
    if chirality is None or chirality.standard_error_mm == 0:
        return None
    return abs(chirality.mean_mm) / chirality.standard_error_mm


BARS = (
    Bar(figure="2D error, raw, % of the crop", value=lambda e: summarise(e, "raw").percent_of_crop, limit=4.0),
    Bar(
        figure="2D error of arms, oracle, % of the crop",
        value=lambda e: summarise(e, "oracle_pose").arms_percent,
        limit=6.5,
    ),
    Bar(figure="MPJPE, triangulated, raw, mm", value=lambda e: summarise(e, "raw").mpjpe_mm, limit=95.0),
    Bar(figure="P-MPJPE, triangulated, raw, mm", value=lambda e: summarise(e, "raw").p_mpjpe_mm, limit=85.0),
    Bar(figure="P-MPJPE, single view, raw, mm", value=lambda e: summarise(e, "raw").monocular_p_mpjpe_mm, limit=120.0),
    Bar(figure="ambiguity ratio r", value=lambda e: e.ambiguity_ratio, limit=0.08),
    Bar(
        figure="frame sets that the global bit exchanges, %",
        value=lambda e: 100.0 * e.under("global_bit").exchanged_fraction,
        limit=0.0,
    ),
    Bar(
        figure="knee chirality, standard errors over takes from zero",
        value=_chirality_in_standard_errors,
        kind="more than",
        limit=5.0,
    ),
)
"""Raw names that equal the global bit's are those of which the bit exchanges none."""
