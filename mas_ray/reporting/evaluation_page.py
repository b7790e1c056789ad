"""The page of an evaluation: its figures, how the errors spread, and the frame sets with the least and the most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template

from mas_ray import __version__
from mas_ray.evaluation.record import Evaluation
from mas_ray.reporting.charts import histogram
from mas_ray.reporting.elements import escape, paragraph, picture
from mas_ray.reporting.evaluation_sections import evaluation, headline_cards


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A frame set as predicted and as the reference has it."""

    take_id: str
    instant: int
    error: str
    """With its unit."""
    picture: bytes
    """All views as one JPEG."""


@dataclass(frozen=True, kw_only=True)
class EvaluationPage:
    """What the page shows."""

    evaluation: Evaluation
    spreads: Mapping[str, tuple[str, Sequence[float]]]
    """By title: the unit, and one value per frame set or view; what is not finite does not count."""
    best: Sequence[Outcome]
    worst: Sequence[Outcome]


def render_evaluation(page: EvaluationPage) -> str:
    """The page as HTML text; style and pictures are inside."""
    folder = resources.files("mas_ray.reporting")
    source = page.evaluation.source
    charts = "".join(histogram(title, values, unit=unit) for title, (unit, values) in page.spreads.items())
    return Template((folder / "evaluation.html").read_text(encoding="utf-8")).substitute(
        style=(folder / "report.css").read_text(encoding="utf-8"),
        checkpoint=escape(source.checkpoint),
        corpus=escape(source.corpus),
        split=escape(source.split),
        code_version=escape(__version__),
        cards="".join(headline_cards(page.evaluation)),
        evaluation=evaluation(page.evaluation),
        histograms=f'<div class="charts">{charts}</div>'
        + paragraph("Names of left and right as predicted. The last bar holds the largest hundredth too.", "caption"),
        best=_outcomes(page.best),
        worst=_outcomes(page.worst),
    )


def _outcomes(outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return paragraph("There are none.", "caption")
    tiles = "".join(
        f"<figure>{picture(each.picture, _where(each))}<figcaption>{escape(_where(each))}</figcaption></figure>"
        for each in outcomes
    )
    caption = "Predicted: left orange, right blue. The reference: green."
    return f'<div class="outcomes">{tiles}</div>{paragraph(caption, "caption")}'


def _where(outcome: Outcome) -> str:
    return f"{outcome.take_id} · frame {outcome.instant} · {outcome.error}"
