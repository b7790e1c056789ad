"""The ablations as Markdown: measured beside published, and what each component of ours does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from mas_ray.config.ablations import (
    with_background,
    with_batch_norm,
    with_clamped_sum,
    with_noisy_or,
    without_arm_search,
    without_depth,
    without_linked_names,
    without_shape_prior,
    without_teacher,
)
from mas_ray.evaluation.left_right import HANDLINGS, Handling
from mas_ray.evaluation.protocol import Evaluation
from mas_ray.evaluation.published import (
    FIG_4,
    TABLE_4,
    TABLE_5,
    AblationRow,
    Figures,
    beside_published,
    figures,
    figures_after_postprocess,
)
from mas_ray.evaluation.summary import Summary, summarise
from mas_ray.evaluation.supervised_postprocess import SupervisedErrors

COMPONENTS = (
    AblationRow(configuration="whole recipe", ablations=()),
    AblationRow(configuration="without the teacher", ablations=(without_teacher,)),
    AblationRow(configuration="teacher does not link names through takes", ablations=(without_linked_names,)),
    AblationRow(configuration="teacher does not search for arms", ablations=(without_arm_search,)),
    AblationRow(configuration="without the depth loss", ablations=(without_depth,)),
    AblationRow(configuration="without ψ", ablations=(without_shape_prior,)),
    AblationRow(configuration="background kept in the input", ablations=(with_background,)),
    AblationRow(configuration="BatchNorm instead of GroupNorm", ablations=(with_batch_norm,)),
    AblationRow(configuration="bones merged by clamped sum", ablations=(with_clamped_sum,)),
    AblationRow(configuration="bones merged by noisy-or", ablations=(with_noisy_or,)),
)
"""What the paper has no figures of, each by itself."""
ABLATIONS = (*TABLE_4, *TABLE_5, *FIG_4, *COMPONENTS)
"""Every row of every table; the same recipe stands in several."""

_HEADINGS = {
    "percent_of_crop": ("2D %", 2),
    "trunk_percent": ("trunk", 2),
    "legs_percent": ("legs", 2),
    "arms_percent": ("arms", 2),
    "mpjpe_mm": ("MPJPE", 1),
    "p_mpjpe_mm": ("P-MPJPE", 1),
    "monocular_mpjpe_mm": ("1-view MPJPE", 1),
    "monocular_p_mpjpe_mm": ("1-view P-MPJPE", 1),
}


@dataclass(frozen=True, kw_only=True)
class MeasuredRow:
    """A recipe after training."""

    name: str
    """As ``AblationRow.name``."""
    reconstruction: float
    """Mask losses on the measured split, as the recipe's last stage weighs them."""
    evaluation: Evaluation
    supervised: SupervisedErrors | None
    """After SPP, which uses labels; only for a row of that kind."""


def ablations_as_markdown(measured: Mapping[str, MeasuredRow], *, steps_share: float, seed: int) -> str:
    """All tables.

    Args:
        measured: By name, one for each of ``ABLATIONS``.
        steps_share: Share of the recipe's steps that each was trained for.
        seed: Of all of them.
    """
    source = measured["whole"].evaluation.source
    sections = [
        "# Ablations",
        f"Every row is the CPU cascade with the change named, trained for {steps_share:.0%} of its steps from random "
        f"weights with seed {seed}, without labels: in one process, on the CPU, without Ray. Stages go on from each "
        f"other's last weights; no checkpoint is selected. Measured on {source.num_frame_sets} frame sets of the "
        f"{source.split} split against: {source.reference}.",
        "Published figures are of Human3.6M, so only their order can be compared. All figures are errors: lower is "
        "better. With one seed and so short a training, small differences mean nothing.",
        "## Table 4",
        "Triangulated MPJPE and r. Left and right: one bit per frame set by the reference (oracle), r before that.",
        beside_published(TABLE_4, [_figures(row, measured) for row in TABLE_4]),
        "## Table 5",
        "2D error in % of the crop; left and right as above. SPP is a linear map that is **fitted to labels** (the "
        "reference joints of the training split); nothing else here uses any, and its row exchanges no names.",
        beside_published(TABLE_5, [_figures(row, measured) for row in TABLE_5]),
        "## Fig. 4",
        _cascade_or_not(measured),
        "## One component at a time",
        "What this project adds to the paper, and what the paper leaves open or only argues for. In brackets the "
        "change against the whole recipe. Raw: names as predicted; oracle: as in Table 4. 1-view: poses of one view "
        "alone.",
        _components(measured),
        "## All figures",
        "2D errors in % of the crop (all joints, trunk, legs, arms), poses in mm. Raw: names as predicted. Global "
        "bit: one exchange for the whole split, where knees would bend backwards. Oracle: as in Table 4. r in %.",
        _everything(measured),
    ]
    return "\n\n".join(sections) + "\n"


def _figures(row: AblationRow, measured: Mapping[str, MeasuredRow]) -> Figures:
    found = measured[row.name]
    if found.supervised is not None:
        return figures_after_postprocess(found.supervised)
    return figures(found.evaluation, "oracle_pose")


def _cascade_or_not(measured: Mapping[str, MeasuredRow]) -> str:
    without, whole = (measured[row.name] for row in FIG_4)
    rows = [["", "mask reconstruction loss", "2D % oracle"]]
    for row, found in zip(FIG_4, (without, whole), strict=True):
        percent = summarise(found.evaluation, "oracle_pose").percent_of_crop
        rows.append([row.configuration, f"{found.reconstruction:.3f}", _cell(percent, 2)])
    holds = "holds" if whole.reconstruction < without.reconstruction else "does not hold"
    return (
        f"{_markdown(rows)}\n\nPublished as curves without figures: the loss ends lower with the cascade. "
        f"That {holds} here. Both losses are of the last stage's bones and weights, on the {_split(whole)} split, "
        "after equally many steps."
    )


def _split(row: MeasuredRow) -> str:
    return row.evaluation.source.split


def _components(measured: Mapping[str, MeasuredRow]) -> str:
    columns: tuple[tuple[str, Handling, str], ...] = (
        ("2D % raw", "raw", "percent_of_crop"),
        ("2D % oracle", "oracle_pose", "percent_of_crop"),
        ("arms % oracle", "oracle_pose", "arms_percent"),
        ("MPJPE raw", "raw", "mpjpe_mm"),
        ("MPJPE oracle", "oracle_pose", "mpjpe_mm"),
        ("1-view MPJPE oracle", "oracle_pose", "monocular_mpjpe_mm"),
        ("1-view P-MPJPE oracle", "oracle_pose", "monocular_p_mpjpe_mm"),
    )

    def values(found: MeasuredRow) -> list[tuple[float | None, int]]:
        of_poses = [
            (getattr(summarise(found.evaluation, handling), figure), _HEADINGS[figure][1])
            for _, handling, figure in columns
        ]
        ratio = found.evaluation.ambiguity_ratio
        return [*of_poses, (ratio and 100.0 * ratio, 2)]

    whole = values(measured["whole"])
    rows = [["", *(heading for heading, _, _ in columns), "r %"]]
    for row in COMPONENTS:
        cells = [
            _cell(value, decimals) + ("" if row.name == "whole" else _change(value, reference, decimals))
            for (value, decimals), (reference, _) in zip(values(measured[row.name]), whole, strict=True)
        ]
        rows.append([row.configuration, *cells])
    return _markdown(rows)


def _everything(measured: Mapping[str, MeasuredRow]) -> str:
    rows = [["", "left and right", *(heading for heading, _ in _HEADINGS.values()), "r %"]]
    for name, found in measured.items():
        if found.supervised is not None:
            continue
        ratio = found.evaluation.ambiguity_ratio
        for number, handling in enumerate(HANDLINGS):
            summary = summarise(found.evaluation, handling)
            cells = [_cell(getattr(summary, field.name), _HEADINGS[field.name][1]) for field in fields(Summary)]
            first = number == 0
            label = handling.replace("_", " ")
            rows.append([f"`{name}`" if first else "", label, *cells, _cell(ratio and 100 * ratio, 2) if first else ""])
    return _markdown(rows)


def _cell(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _change(value: float | None, reference: float | None, decimals: int) -> str:
    return "" if value is None or reference is None else f" ({value - reference:+.{decimals}f})"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    header, *body = rows
    lines = [header, ["---", *("---:" for _ in header[1:])], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
