"""The paper's ablations over several seeds as Markdown: mean ± standard deviation beside published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mas_ray.config.cascade import CascadeConfig
from mas_ray.config.published import FIG_4, TABLE_4, TABLE_5, AblationRow
from mas_ray.evaluation.over_seeds import figures_over_seeds, mean_and_deviation
from mas_ray.evaluation.protocol import PROTOCOL
from mas_ray.reporting import markdown
from mas_ray.reporting.ablations import (
    TABLE_4_NOTE,
    TABLE_5_NOTE,
    row_figures,
    whether_the_cascade_pays,
)
from mas_ray.reporting.beside_published import beside_published, caveats, marked, seeds_of
from mas_ray.reporting.measured_row import MeasuredRow

Measured = Mapping[str, Mapping[int, MeasuredRow]]
"""By the name of a row, and by seed. A row that was not trained is not there."""


def ablations_over_seeds_as_markdown(
    measured: Measured, *, sweep: str, cascade: CascadeConfig, initial: str | None, left_out: Sequence[str]
) -> str:
    """The paper's tables.

    Args:
        measured: One row at least.
        sweep: Name of the sweep whose trials these are.
        cascade: The recipe of the row that goes without nothing.
        initial: The checkpoint that trials started from; None: random weights.
        left_out: The trials that are not part of the figures, each with its reason.
    """
    rows = [row for by_seed in measured.values() for row in by_seed.values()]
    seeds = sorted({seed for by_seed in measured.values() for seed in by_seed})
    source = rows[0].evaluation.source
    sections = [
        "# Ablations over seeds",
        f"Every row is the recipe of the sweep `{sweep}` with the change named, trained without labels from "
        f"{initial or 'random weights'}: {_length(cascade)}. Each stage hands on its checkpoint of the best held-out "
        f"reconstruction. Seeds: {', '.join(map(str, seeds))}. Measured on {source.num_frame_sets} "
        f"frame sets of the {source.split} split against: {source.reference}.",
        "Figures are the mean over a row's seeds ± their standard deviation (n - 1; none of one seed). A row that was "
        "not trained has dashes and no place in the order. Published figures are of Human3.6M, so only their order can "
        "be compared, here with that of the means; means that lie no further apart than their deviations say little. "
        "All figures are errors: lower is better.",
        "## Table 4",
        TABLE_4_NOTE,
        _beside_published(TABLE_4, measured),
        "## Table 5",
        TABLE_5_NOTE,
        _beside_published(TABLE_5, measured),
        "## Fig. 4",
        _fig_4(measured, split=source.split),
        "## Protocol",
        PROTOCOL,
        "## Trials left out",
        "\n".join(f"- {each}" for each in left_out) or "None.",
    ]
    return "\n\n".join(sections) + "\n"


def _length(cascade: CascadeConfig) -> str:
    stages = ", ".join(f"{stage.name} {stage.num_epochs}" for stage in cascade.stages)
    steps = cascade.steps_per_epoch
    return f"{sum(stage.num_epochs for stage in cascade.stages)} epochs ({stages}), each of " + (
        "one pass over the training split" if steps is None else f"{steps} steps"
    )


def _beside_published(rows: Sequence[AblationRow], measured: Measured) -> str:
    over_seeds = [
        figures_over_seeds([row_figures(found) for found in measured.get(row.name, {}).values()]) for row in rows
    ]
    return beside_published(rows, [means for means, _ in over_seeds], spreads=[spread for _, spread in over_seeds])


def _fig_4(measured: Measured, *, split: str) -> str:
    rows = [["", "mask reconstruction loss", "2D % oracle", "over"]]
    losses: list[float | None] = []
    for row in FIG_4:
        found = list(measured.get(row.name, {}).values())
        loss, loss_deviation = mean_and_deviation(
            [each.reconstruction for each in found if each.reconstruction is not None]
        )
        means, spread = figures_over_seeds([row_figures(each) for each in found])
        rows.append(
            [
                marked(row),
                markdown.plus_minus(loss, loss_deviation, 3),
                markdown.plus_minus(means.percent_of_crop, spread.deviation.percent_of_crop, 2),
                seeds_of(spread.num_seeds),
            ]
        )
        losses.append(loss)
    one_stage, untaught, whole = losses
    verdict = whether_the_cascade_pays(one_stage=one_stage, untaught=untaught, whole=whole)
    return (
        f"{markdown.table(rows)}\n\n{verdict} All losses are of the views' own joints, with the last stage's bones and "
        f"weights, on the {split} split; all trainings are of equally many steps.\n\n"
        + "\n".join(f"- {caveat}" for caveat in caveats(FIG_4))
    )
