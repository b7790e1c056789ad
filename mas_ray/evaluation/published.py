"""The paper's ablations: what each row takes away, its published figures, and measured ones beside them.

The figures do not compare in size, only in order: the published ones are of Human3.6M, by a protocol that the paper
does not spell out; ours are of another corpus, another network and shorter training, by ``protocol.PROTOCOL``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from mas_ray.config.ablations import (
    with_points,
    without_cascade,
    without_geodesic,
    without_shape_prior,
    without_triangulation,
)
from mas_ray.config.cascade import CascadeConfig
from mas_ray.evaluation.left_right import Handling
from mas_ray.evaluation.protocol import Evaluation
from mas_ray.evaluation.supervised_postprocess import SupervisedErrors


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of one row; None where it has none. Lower is better in all of them."""

    mpjpe_mm: float | None = None
    ambiguity_ratio: float | None = None
    percent_of_crop: float | None = None


@dataclass(frozen=True, kw_only=True)
class AblationRow:
    """One recipe of an ablation, and how it is measured."""

    configuration: str
    """In the paper's words, where it is of the paper."""
    ablations: tuple[Callable[[CascadeConfig], CascadeConfig], ...]
    """What makes it of the whole recipe, one after the other."""
    supervised_postprocess: bool = False
    """Whether its figures are taken after SPP, which uses labels."""
    published: Figures = Figures()

    @property
    def name(self) -> str:
        """Of what is taken away, the same wherever the row stands; fit for a file name."""
        name = "+".join(ablation.__name__ for ablation in self.ablations) or "whole"
        return f"{name}+spp" if self.supervised_postprocess else name

    def recipe(self, cascade: CascadeConfig) -> CascadeConfig:
        """The whole recipe without what this row goes without."""
        for ablation in self.ablations:
            cascade = ablation(cascade)
        return cascade


TABLE_4 = (
    AblationRow(
        configuration="wo ψ, G, Δ",
        ablations=(without_shape_prior, without_geodesic, without_triangulation),
        published=Figures(mpjpe_mm=118.1, ambiguity_ratio=0.4873),
    ),
    AblationRow(
        configuration="wo ψ, G",
        ablations=(without_shape_prior, without_geodesic),
        published=Figures(mpjpe_mm=127.4, ambiguity_ratio=0.2334),
    ),
    AblationRow(
        configuration="wo G",
        ablations=(without_geodesic,),
        published=Figures(mpjpe_mm=102.6, ambiguity_ratio=0.2283),
    ),
    AblationRow(configuration="Full", ablations=(), published=Figures(mpjpe_mm=95.9, ambiguity_ratio=0.2033)),
)
TABLE_5 = (
    AblationRow(
        configuration="wo structure prior, wo ψ",
        ablations=(with_points, without_shape_prior),
        published=Figures(percent_of_crop=20.22),
    ),
    AblationRow(configuration="wo structure prior", ablations=(with_points,), published=Figures(percent_of_crop=20.06)),
    AblationRow(
        configuration="wo structure prior + SPP",
        ablations=(with_points,),
        supervised_postprocess=True,
        published=Figures(percent_of_crop=9.32),
    ),
    AblationRow(configuration="structure prior & ψ", ablations=(), published=Figures(percent_of_crop=3.63)),
)
FIG_4 = (
    AblationRow(configuration="without cascade training", ablations=(without_cascade,)),
    AblationRow(configuration="cascade training", ablations=()),
)
"""Curves of the reconstruction loss without figures: the cascade's ends lower."""

_COLUMNS = {"mpjpe_mm": ("MPJPE mm", 1.0, 1), "ambiguity_ratio": ("r %", 100.0, 2), "percent_of_crop": ("2D %", 1.0, 2)}
"""Per figure its name, the factor it is shown with, and decimals."""


def figures(evaluation: Evaluation, handling: Handling) -> Figures:
    """An evaluation's figures of the tables: MPJPE of triangulated poses, r, and the 2D error.

    Without triangulation in training (no Δ) views name left and right by themselves (published r: 49 %), and the
    published MPJPE can hardly be had of such poses as they are: ``oracle_pose`` comes nearest to what was compared.
    """
    accuracy = evaluation.under(handling)
    return Figures(
        mpjpe_mm=None if accuracy.triangulated is None else accuracy.triangulated.mpjpe_mm,
        ambiguity_ratio=evaluation.ambiguity_ratio,
        percent_of_crop=None if accuracy.keypoints is None else accuracy.keypoints.percent_of_crop,
    )


def figures_after_postprocess(errors: SupervisedErrors) -> Figures:
    """The figures of a row with SPP. It has no r: the map is one for all views."""
    return Figures(
        mpjpe_mm=None if errors.triangulated is None else errors.triangulated.mpjpe_mm,
        percent_of_crop=errors.percent_of_crop,
    )


def beside_published(rows: Sequence[AblationRow], measured: Sequence[Figures]) -> str:
    """A table in Markdown: the rows' measured figures beside the published ones, and whether their order agrees.

    Args:
        rows: A table of the paper.
        measured: One per row, in the same order.

    Raises:
        ValueError: There is not one per row.
    """
    if len(measured) != len(rows):
        raise ValueError(f"measured: expected one per row ({len(rows)}), got {len(measured)}")
    shown = [f.name for f in fields(Figures) if any(getattr(row.published, f.name) is not None for row in rows)]
    header = ["", *(f"{_COLUMNS[name][0]} {source}" for name in shown for source in ("measured", "published"))]
    lines = [header, ["---", *("---:" for _ in header[1:])]]
    for row, ours in zip(rows, measured, strict=True):
        pairs = [_shown(source, name) for name in shown for source in (ours, row.published)]
        lines.append([row.configuration, *pairs])
    table = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([*table, "", *(f"- {_order(rows, measured, name)}" for name in shown)])


def _shown(values: Figures, name: str) -> str:
    value = getattr(values, name)
    _, factor, decimals = _COLUMNS[name]
    return "-" if value is None else f"{factor * value:.{decimals}f}"


def _order(rows: Sequence[AblationRow], measured: Sequence[Figures], name: str) -> str:
    """The rows from best to worst, as published and as measured, and which pairs of them do not agree."""
    found = {
        row.configuration: (getattr(row.published, name), getattr(ours, name))
        for row, ours in zip(rows, measured, strict=True)
        if getattr(row.published, name) is not None and getattr(ours, name) is not None
    }
    published, ranked = (sorted(found, key=lambda configuration: found[configuration][n]) for n in (0, 1))
    pairs = list(itertools.combinations(published, 2))
    against = [f"{better} better than {worse}" for better, worse in pairs if not found[better][1] < found[worse][1]]
    text = (
        f"{_COLUMNS[name][0]}, best first. Published: {'; '.join(published)}. Measured: {'; '.join(ranked)}. "
        f"{len(pairs) - len(against)} of {len(pairs)} pairs in the published order."
    )
    return text + (f" What does not hold: {'; '.join(against)}." if against else "")
