"""The paper's ablations: what each row takes away, and its published figures.

They are of Human3.6M, by a protocol that the paper does not spell out. Ours, of another corpus, another network and
shorter training, do not compare with them in size, only in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mas_ray.config.ablations import (
    Ablation,
    names_of,
    with_mixed_view_finetune,
    with_multi_view_finetune,
    with_points,
    without_arm_search,
    without_cascade,
    without_geodesic,
    without_shape_prior,
    without_teacher,
    without_triangulation,
)
from mas_ray.config.cascade import CascadeConfig


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
    also_without: str = ""
    """What of ours it cannot keep, so that its figures are not of the configuration alone; empty if nothing."""

    @property
    def name(self) -> str:
        """Of what is taken away, the same wherever the row stands; fit for a file name."""
        name = "+".join(ablation.__name__ for ablation in self.ablations) or "whole"
        return f"{name}+spp" if self.supervised_postprocess else name

    @property
    def without(self) -> tuple[Ablation, ...]:
        """Its recipe as ``TrainJob.without`` has it; ``ValueError`` if it cannot be named there."""
        return names_of(self.ablations)

    def recipe(self, cascade: CascadeConfig) -> CascadeConfig:
        """The whole recipe without what this row goes without."""
        for ablation in self.ablations:
            cascade = ablation(cascade)
        return cascade


_WITH_DELTA = "the teacher with its fresh detector, the name search, and the losses of depth, agreement and limbs"
_WITH_BONES = "the teacher's arm search, which knows how long arms are"
_WITH_CASCADE = "the teacher with its fresh detector, which a first stage cannot have"
TABLE_4 = (
    AblationRow(
        configuration="wo ψ, G, Δ",
        ablations=(without_shape_prior, without_geodesic, without_triangulation),
        published=Figures(mpjpe_mm=118.1, ambiguity_ratio=0.4873),
        also_without=_WITH_DELTA,
    ),
    AblationRow(
        configuration="wo ψ, G, teacher (not of the paper)",
        ablations=(without_shape_prior, without_geodesic, without_teacher),
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
        ablations=(with_points, without_arm_search, without_shape_prior),
        published=Figures(percent_of_crop=20.22),
        also_without=_WITH_BONES,
    ),
    AblationRow(
        configuration="wo structure prior",
        ablations=(with_points, without_arm_search),
        published=Figures(percent_of_crop=20.06),
        also_without=_WITH_BONES,
    ),
    AblationRow(
        configuration="wo structure prior + SPP",
        ablations=(with_points, without_arm_search),
        supervised_postprocess=True,
        published=Figures(percent_of_crop=9.32),
        also_without=_WITH_BONES,
    ),
    AblationRow(configuration="structure prior & ψ", ablations=(), published=Figures(percent_of_crop=3.63)),
)
FIG_4 = (
    AblationRow(configuration="without cascade training", ablations=(without_cascade,), also_without=_WITH_CASCADE),
    AblationRow(
        configuration="cascade training without the teacher", ablations=(without_teacher,), also_without=_WITH_CASCADE
    ),
    AblationRow(configuration="cascade training", ablations=()),
)
"""Curves of the reconstruction loss without figures: the cascade's ends lower. The row between is not of the paper."""
OURS = AblationRow(configuration="Ours", ablations=())
OURS_SPP = AblationRow(configuration="Ours ††", ablations=(), supervised_postprocess=True)
MULTI_VIEW_FINETUNE = AblationRow(configuration="Multi-view ft", ablations=(with_multi_view_finetune,))
MIXED_VIEW_FINETUNE = AblationRow(configuration="Mixed-view ft", ablations=(with_mixed_view_finetune,))
"""The recipes of Tables 1 to 3, whose figures stand in ``reporting.results``."""
PAPER = (*TABLE_4, *TABLE_5, *FIG_4)
"""Every row of these; the same recipe stands in several."""
