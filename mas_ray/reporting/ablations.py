"""The paper's tables as Markdown: measured beside published, and what each component of ours does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from mas_ray.config.ablations import (
    with_background,
    with_batch_norm,
    with_clamped_sum,
    with_noisy_or,
    with_paper_symmetry,
    without_arm_search,
    without_consistency,
    without_depth,
    without_fresh_detector,
    without_limb_terms,
    without_linked_names,
    without_mask_ramp,
    without_name_search,
    without_shape_prior,
    without_stick,
    without_teacher,
)
from mas_ray.config.published import FIG_4, PAPER, TABLE_4, TABLE_5, AblationRow, Figures
from mas_ray.evaluation.left_right import HANDLINGS, Handling
from mas_ray.evaluation.record import EvaluationSource
from mas_ray.evaluation.summary import Summary, summarise
from mas_ray.evaluation.table_figures import figures, figures_after_postprocess
from mas_ray.reporting import markdown
from mas_ray.reporting.beside_published import beside_published, caveats, marked
from mas_ray.reporting.measured_row import MeasuredRow
from mas_ray.reporting.results import results_sections
from mas_ray.reporting.summary_columns import HANDLING_NAMES, SUMMARY_COLUMNS

COMPONENTS = (
    AblationRow(configuration="whole recipe", ablations=()),
    AblationRow(configuration="first warm-up on pelvis and thorax, as in the paper", ablations=(without_stick,)),
    AblationRow(configuration="mask losses in full from the first step", ablations=(without_mask_ramp,)),
    AblationRow(configuration="symmetry and bone lengths as in the paper", ablations=(with_paper_symmetry,)),
    AblationRow(configuration="without limb equality, leg proportions, mid-spine", ablations=(without_limb_terms,)),
    AblationRow(configuration="without the loss of agreement of the views", ablations=(without_consistency,)),
    AblationRow(configuration="names not searched for between views", ablations=(without_name_search,)),
    AblationRow(configuration="without the teacher", ablations=(without_teacher,)),
    AblationRow(configuration="teacher does not link names through takes", ablations=(without_linked_names,)),
    AblationRow(configuration="teacher does not search for arms", ablations=(without_arm_search,)),
    AblationRow(configuration="taught stage goes on from the weights before", ablations=(without_fresh_detector,)),
    AblationRow(configuration="without the depth loss", ablations=(without_depth,)),
    AblationRow(configuration="without ψ", ablations=(without_shape_prior,)),
    AblationRow(configuration="background kept in the input", ablations=(with_background,)),
    AblationRow(configuration="BatchNorm instead of GroupNorm", ablations=(with_batch_norm,)),
    AblationRow(configuration="bones merged by clamped sum", ablations=(with_clamped_sum,)),
    AblationRow(configuration="bones merged by noisy-or", ablations=(with_noisy_or,)),
)
"""What the paper has no figures of, each by itself."""
ABLATIONS = (*PAPER, *COMPONENTS)
"""Every row of every table; the same recipe stands in several."""

TABLE_4_NOTE = (
    "Triangulated MPJPE and r. Left and right: one bit per frame set by the reference (oracle), r before that. The "
    "row that is not of the paper tells how much of the first one's loss is the teacher's."
)
TABLE_5_NOTE = (
    "2D error in % of the crop; left and right as above. SPP is a linear map that is **fitted to labels** (the "
    "reference joints of the training split); nothing else here uses any, and its row exchanges no names. Without "
    "structure prior, joints are drawn as points, and the losses that know joints by name stay, as the appendix "
    "says: those beyond the paper too."
)


def rehearsal(source: EvaluationSource, *, steps_share: float, num_steps: int, seed: int, commit: str) -> str:
    """What rows that were trained briefly are worth.

    Args:
        source: Of their evaluations.
        steps_share: Share of the recipe's steps that each was trained for.
        num_steps: The steps that this is for the whole recipe.
        seed: Of all of them.
        commit: Of the code.
    """
    return (
        f"Every row is the CPU cascade with the change named, trained for {steps_share:.0%} of its steps (the whole "
        f"recipe: {num_steps:,} of four frame sets each; the paper's has 45 epochs of Human3.6M) from random "
        f"weights with seed {seed}, without labels: in one process, on the CPU, without Ray. Stages go on from each "
        f"other's last weights; no checkpoint is selected. Measured on {source.num_frame_sets} frame sets of the "
        f"{source.split} split against: {source.reference}. Commit {commit}.\n\n"
        "**A rehearsal.** Published figures are of other data, a far larger network and a far longer training, so none "
        "of ours compares with the one beside it; at best their order does. With one seed and so short a training, "
        "small differences mean nothing. A dash: not run, or not published."
    )


def tables_as_markdown(
    measured: Mapping[str, MeasuredRow],
    intro: str,
    *,
    of_3dhp: Mapping[str, MeasuredRow] | None = None,
    pckh_percent: Mapping[str, float] | None = None,
) -> str:
    """All tables. What is not of the paper is left out unless all of ``COMPONENTS`` were measured.

    Args:
        measured: By name; what is not there is blank.
        intro: What was measured, and what it is worth.
        of_3dhp: The same on MPI-INF-3DHP, for Table 2 and a column of Table 3; None: the rows measured stand in.
        pckh_percent: On MPII, for another column of Table 3; None: that is blank.
    """
    sections = [
        "# Tables",
        intro,
        *results_sections(measured, measured if of_3dhp is None else of_3dhp, pckh_percent or {}),
        "## Table 4",
        TABLE_4_NOTE,
        beside_published(TABLE_4, [_figures_of(measured, row) for row in TABLE_4]),
        "## Table 5",
        TABLE_5_NOTE,
        beside_published(TABLE_5, [_figures_of(measured, row) for row in TABLE_5]),
        "## Fig. 4",
        _cascade_or_not(measured),
        *(_component_sections(measured) if all(row.name in measured for row in COMPONENTS) else ()),
        "## All figures",
        "2D errors in % of the crop (all joints, trunk, legs, arms), poses in mm. Raw: names as predicted. Global "
        "bit: one exchange for the whole split, where knees would bend backwards. Oracle: as in Table 4. r in %.",
        _everything(measured),
    ]
    return "\n\n".join(sections) + "\n"


def _component_sections(measured: Mapping[str, MeasuredRow]) -> tuple[str, ...]:
    return (
        "## One component at a time",
        "What this project adds to the paper, and what the paper leaves open or only argues for. In brackets the "
        "change against the whole recipe. Raw: names as predicted; oracle: as in Table 4. 1-view: poses of one view "
        "alone.",
        _components(measured),
    )


def _figures_of(measured: Mapping[str, MeasuredRow], row: AblationRow) -> Figures:
    return row_figures(measured[row.name]) if row.name in measured else Figures()


def row_figures(found: MeasuredRow) -> Figures:
    """What Tables 4 and 5 show of a row: after SPP, if it is of that kind."""
    if found.supervised:
        return figures_after_postprocess(found.supervised[0])
    return figures(found.evaluation, "oracle_pose")


def _cascade_or_not(measured: Mapping[str, MeasuredRow]) -> str:
    rows = [["", "mask reconstruction loss", "2D % oracle"]]
    losses: list[float | None] = []
    for row in FIG_4:
        found = measured.get(row.name)
        losses.append(found and found.reconstruction)
        percent = found and summarise(found.evaluation, "oracle_pose").percent_of_crop
        rows.append([marked(row), markdown.figure(losses[-1], 3), markdown.figure(percent, 2)])
    one_stage, untaught, whole = losses
    return (
        f"{markdown.table(rows)}\n\n{whether_the_cascade_pays(one_stage=one_stage, untaught=untaught, whole=whole)} "
        f"All losses are of the views' own joints, with the last stage's bones and weights, on the split measured, "
        "after equally many steps.\n\n" + "\n".join(f"- {caveat}" for caveat in caveats(FIG_4))
    )


def whether_the_cascade_pays(*, one_stage: float | None, untaught: float | None, whole: float | None) -> str:
    """Whether what Fig. 4 shows holds of these reconstruction losses; None is one that was not measured."""
    proof = "" if whole is None or one_stage is None else ", which by the caveat below is no proof either way"
    return (
        "Published as curves without figures: the loss ends lower with the cascade. "
        f"Of the cascade alone, that is without the teacher in either row, this {_holds(untaught, one_stage)} here. "
        f"Of the whole recipe against one stage it {_holds(whole, one_stage)}{proof}."
    )


def _holds(lower: float | None, higher: float | None) -> str:
    if lower is None or higher is None:
        return "cannot be said"
    return "holds" if lower < higher else "does not hold"


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
            (getattr(summarise(found.evaluation, handling), figure), SUMMARY_COLUMNS[figure][1])
            for _, handling, figure in columns
        ]
        ratio = found.evaluation.ambiguity_ratio
        return [*of_poses, (ratio and 100.0 * ratio, 2)]

    whole = values(measured["whole"])
    rows = [["", *(heading for heading, _, _ in columns), "r %"]]
    for row in COMPONENTS:
        cells = [
            markdown.figure(value, decimals) + ("" if row.name == "whole" else _change(value, reference, decimals))
            for (value, decimals), (reference, _) in zip(values(measured[row.name]), whole, strict=True)
        ]
        rows.append([row.configuration, *cells])
    return markdown.table(rows)


def _everything(measured: Mapping[str, MeasuredRow]) -> str:
    rows = [["", "left and right", *(heading for heading, _ in SUMMARY_COLUMNS.values()), "r %"]]
    for name, found in measured.items():
        if found.supervised:
            continue
        ratio = found.evaluation.ambiguity_ratio
        for number, handling in enumerate(HANDLINGS):
            summary = summarise(found.evaluation, handling)
            cells = [
                markdown.figure(getattr(summary, field.name), SUMMARY_COLUMNS[field.name][1])
                for field in fields(Summary)
            ]
            first = number == 0
            label = HANDLING_NAMES[handling]
            rows.append(
                [
                    f"`{name}`" if first else "",
                    label,
                    *cells,
                    markdown.figure(ratio and 100 * ratio, 2) if first else "",
                ]
            )
    return markdown.table(rows)


def _change(value: float | None, reference: float | None, decimals: int) -> str:
    return "" if value is None or reference is None else f" ({value - reference:+.{decimals}f})"
