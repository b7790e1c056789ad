"""Tables 1 to 3 as Markdown: the paper's results, and what was measured under their names.

By the protocol that the paper's authors released later (``evaluation.paper_protocol``), the nearest to what the paper
may have done. With SPP (††) poses are triangulated and put on one pelvis, as the maps are fitted to such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mas_ray.config.published import MIXED_VIEW_FINETUNE, MULTI_VIEW_FINETUNE, OURS, OURS_SPP, AblationRow
from mas_ray.evaluation.record import PaperErrors, PaperHandling, SupervisedErrors
from mas_ray.reporting import markdown
from mas_ray.reporting.measured_row import MeasuredRow

Values = Sequence[float | None]
_DECIMALS = 2


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """A row of Table 1, 2 or 3. Values are in the order of the table's columns; None where there is none."""

    configuration: str
    recipe: AblationRow
    published: Values
    measure: Callable[[MeasuredRow], Values]


def _by_protocol(handling: PaperHandling, *columns: Callable[[PaperErrors], float]) -> Callable[[MeasuredRow], Values]:
    def measure(found: MeasuredRow) -> Values:
        paper = found.evaluation.paper
        return [None if paper is None else column(paper.under(handling)) for column in columns]

    return measure


def _after_postprocess(
    number: int, *columns: Callable[[SupervisedErrors], float | None]
) -> Callable[[MeasuredRow], Values]:
    return lambda found: [column(found.supervised[number]) for column in columns]


def _percent(errors: PaperErrors) -> float:
    return errors.percent_of_two_metres


def _mpjpe_mm(errors: PaperErrors) -> float:
    return errors.mpjpe_mm


TABLE_1_COLUMNS = ("2D %", "MPJPE mm", "N-MPJPE mm", "P-MPJPE mm")
_OF_TABLE_1 = (_percent, _mpjpe_mm, lambda e: e.n_mpjpe_mm, lambda e: e.p_mpjpe_mm)
_OF_TABLE_1_SPP = (
    lambda e: e.percent_of_crop,
    lambda e: e.triangulated and e.triangulated.mpjpe_mm,
    lambda e: e.triangulated and e.triangulated.n_mpjpe_mm,
    lambda e: e.triangulated and e.triangulated.p_mpjpe_mm,
)
TABLE_1 = (
    ResultRow(
        configuration="Ours",
        recipe=OURS,
        published=(3.63, 95.9, 96.8, 90.4),
        measure=_by_protocol("raw", *_OF_TABLE_1),
    ),
    ResultRow(
        configuration="Ours † (left and right ignored)",
        recipe=OURS,
        published=(3.17, 85.6, 85.6, None),
        measure=_by_protocol("oracle_pairs", *_OF_TABLE_1),
    ),
    ResultRow(
        configuration="Ours †† (SPP, linear)",
        recipe=OURS_SPP,
        published=(2.52, 65.5, 66.1, None),
        measure=_after_postprocess(0, *_OF_TABLE_1_SPP),
    ),
    ResultRow(
        configuration="Ours †† (SPP, two hidden layers)",
        recipe=OURS_SPP,
        published=(None, None, None, None),
        measure=_after_postprocess(1, *_OF_TABLE_1_SPP),
    ),
)
TABLE_2_COLUMNS = ("PCK 150 %", "AUC %", "MPJPE cm")
TABLE_2 = (
    ResultRow(
        configuration="Ours",
        recipe=OURS,
        published=(60.2, 24.7, 19.36),
        measure=_by_protocol(
            "raw", lambda e: e.pck_150_percent, lambda e: e.auc_150_percent, lambda e: e.mpjpe_mm / 10.0
        ),
    ),
    ResultRow(
        configuration="Ours (SPP, linear)",
        recipe=OURS_SPP,
        published=(71.3, 42.7, 13.67),
        measure=_after_postprocess(
            0,
            lambda e: e.triangulated and e.triangulated.pck_150_percent,
            lambda e: e.triangulated and e.triangulated.auc_150_percent,
            lambda e: e.triangulated and e.triangulated.mpjpe_mm / 10.0,
        ),
    ),
)
TABLE_3_COLUMNS = ("MPJPE mm", "3DHP PCK %", "MPII PCKh %")
_OF_TABLE_3 = _by_protocol("raw", _mpjpe_mm)
_OF_3DHP = _by_protocol("raw", lambda e: e.pck_150_percent)
TABLE_3 = (
    ResultRow(configuration="Baseline", recipe=OURS, published=(101.63, 60.1, 26.7), measure=_OF_TABLE_3),
    ResultRow(
        configuration="Multi-view ft", recipe=MULTI_VIEW_FINETUNE, published=(95.90, 61.2, 27.3), measure=_OF_TABLE_3
    ),
    ResultRow(
        configuration="Mixed-view ft", recipe=MIXED_VIEW_FINETUNE, published=(94.82, 63.4, 28.1), measure=_OF_TABLE_3
    ),
)
"""Measured is the first column; the others are of other corpora."""
RESULTS = (*TABLE_1, *TABLE_2, *TABLE_3)


def results_sections(
    measured: Mapping[str, MeasuredRow],
    of_3dhp: Mapping[str, MeasuredRow],
    pckh_percent: Mapping[str, float],
) -> list[str]:
    """Tables 1 to 3; a row whose recipe was not measured has dashes.

    Args:
        measured: Rows by name.
        of_3dhp: The same on MPI-INF-3DHP, for Table 2 and a column of Table 3.
        pckh_percent: On MPII, for another.
    """
    return [
        "## Table 1",
        "Published: Human3.6M. One view, nothing aligned, at the reference pelvis' depth; the mean of per-action "
        "means; 2D in % of a square of two metres. †: each pair of joints of each view is exchanged for the reference. "
        "††: a map **fitted to labels** of the training split; triangulated poses, pelvis on pelvis, 2D in % of "
        "the crop; the paper does not say which map its figures are of.",
        _table(TABLE_1_COLUMNS, TABLE_1, [_values(row, measured) for row in TABLE_1]),
        "## Table 2",
        "Published: MPI-INF-3DHP, training subjects 7 and 8. Measured by the same protocol.",
        _table(TABLE_2_COLUMNS, TABLE_2, [_values(row, of_3dhp) for row in TABLE_2]),
        "## Table 3",
        "Fine-tuning from the whole recipe for five epochs more, on the same views or with every other step on single "
        "views of other people without calibration. Published MPJPE: Human3.6M. PCKh: of everybody, who was not found "
        "counting as wrong.",
        _table(
            TABLE_3_COLUMNS,
            TABLE_3,
            [
                [
                    *_values(row, measured)[:1],
                    *(_OF_3DHP(of_3dhp[row.recipe.name]) if row.recipe.name in of_3dhp else [None]),
                    pckh_percent.get(row.recipe.name),
                ]
                for row in TABLE_3
            ],
        ),
    ]


def _values(row: ResultRow, measured: Mapping[str, MeasuredRow]) -> Values:
    found = measured.get(row.recipe.name)
    return [None] * len(row.published) if found is None else row.measure(found)


def _table(columns: Sequence[str], rows: Sequence[ResultRow], measured: Sequence[Values]) -> str:
    lines = [["", *(f"{column} {source}" for column in columns for source in ("measured", "published"))]]
    for row, ours in zip(rows, measured, strict=True):
        cells = [markdown.figure(value, _DECIMALS) for pair in zip(ours, row.published, strict=True) for value in pair]
        lines.append([row.configuration, *cells])
    return markdown.table(lines)
