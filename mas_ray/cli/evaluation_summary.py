"""An evaluation on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from mas_ray.cli.text_table import cell, text_table
from mas_ray.evaluation.mpii import MpiiEvaluation
from mas_ray.evaluation.record import Accuracy, Evaluation, PaperProtocol, PoseErrors, SupervisedErrors
from mas_ray.reporting.summary_columns import HANDLING_NAMES

_HEADINGS = ("MPJPE", "P-MPJPE", "1-view", "P-MPJPE", "2D")


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the main figures under every handling of left and right."""
    source = evaluation.source
    print(f"{source.num_frame_sets} frame sets of the {source.split} split against: {source.reference}")
    print("MPJPE and P-MPJPE in mm of triangulated poses, then of one view's alone; 2D in % of the crop; then the")
    print("triangulated MPJPE and 2D of each group of joints:")
    print(_accuracies(evaluation.accuracy))
    print(f"  ambiguity ratio r, before any handling: {cell(evaluation.ambiguity_ratio, 3)}")
    if (knees := evaluation.knee_chirality_of_takes) is not None:
        bend = f"{knees.mean_mm:.1f} ± {knees.standard_error_mm:.1f} mm"
        print(f"  knees bend forward by {bend} (standard error over takes), by the names as predicted")
    if source.takes_also_trained_on:
        print("  (training and evaluated frames come from the same clips)")
    if source.faults:
        print(f"without {len(source.faults)} takes whose reference is damaged:")
        print(_accuracies(evaluation.accuracy_without_faults))
    _print_actions(evaluation.accuracy[0])
    if evaluation.paper is not None:
        _print_paper(evaluation.paper)
    for errors in evaluation.supervised:
        _print_supervised(errors)


def print_mpii(evaluation: MpiiEvaluation) -> None:
    """Print PCKh under every handling of left and right, and joint by joint."""
    reasons = ", ".join(f"{each.num_people} {each.reason}" for each in evaluation.not_found)
    print(f"{evaluation.num_people} people of MPII's validation set" + (f"; not found: {reasons}" if reasons else ""))
    print("PCKh in %, those not found counting as wrong; of those found; with pelvis and thorax:")
    rows = [["left and right", "PCKh", "found", "all joints"]]
    for each in evaluation.figures:
        found = cell(each.pckh_of_found_percent, 1)
        rows.append(
            [HANDLING_NAMES[each.handling], cell(each.pckh_percent, 1), found, cell(each.pckh_all_joints_percent, 1)]
        )
    print(text_table(rows))
    raw = evaluation.under("raw").joints
    print("  " + ", ".join(f"{each.joint.replace('_', ' ')} {each.pckh_percent:.1f}" for each in raw))


def print_change(evaluation: Evaluation, other: Evaluation) -> None:
    """Print how the main figures differ from those of another evaluation of the same."""
    print(f"change against {other.source.checkpoint}:")
    rows = [["left and right", *_HEADINGS]]
    for accuracy in evaluation.accuracy:
        before = _main_figures(other.under(accuracy.handling))
        changes = [
            "-" if now is None or then is None else f"{now - then:+.2f}"
            for now, then in zip(_main_figures(accuracy), before, strict=True)
        ]
        rows.append([HANDLING_NAMES[accuracy.handling], *changes])
    print(text_table(rows))


def _accuracies(accuracies: Sequence[Accuracy]) -> str:
    groups = [group.group for group in accuracies[0].groups] if accuracies else []
    rows = [["left and right", *_HEADINGS, *(name for group in groups for name in (group, "2D"))]]
    for accuracy in accuracies:
        row = [HANDLING_NAMES[accuracy.handling], *_main_cells(_main_figures(accuracy))]
        for group in accuracy.groups:
            row += [cell(group.triangulated_mm, 1), cell(group.percent_of_crop, 2)]
        rows.append(row)
    return text_table(rows)


def _main_figures(accuracy: Accuracy) -> list[float | None]:
    keypoints = accuracy.keypoints
    return [
        *_pose_figures(accuracy.triangulated),
        *_pose_figures(accuracy.monocular),
        keypoints and keypoints.percent_of_crop,
    ]


def _pose_figures(errors: PoseErrors | None) -> tuple[float | None, float | None]:
    return (None, None) if errors is None else (errors.mpjpe_mm, errors.p_mpjpe_mm)


def _main_cells(figures: Sequence[float | None]) -> list[str]:
    return [cell(figure, decimals) for figure, decimals in zip(figures, (1, 1, 1, 1, 2), strict=True)]


def _print_actions(accuracy: Accuracy) -> None:
    if len(accuracy.actions) < 2:
        return
    print(f"per action, left and right {HANDLING_NAMES[accuracy.handling]}:")
    rows = [["action", "frame sets", *_HEADINGS]]
    columns: list[list[float]] = [[] for _ in _HEADINGS]
    for action in accuracy.actions:
        figures = [
            *_pose_figures(action.triangulated),
            *_pose_figures(action.monocular),
            action.keypoints and action.keypoints.percent_of_crop,
        ]
        rows.append([action.action, str(action.num_frame_sets), *_main_cells(figures)])
        for column, figure in zip(columns, figures, strict=True):
            column += [] if figure is None else [figure]
    means = [sum(column) / len(column) if column else None for column in columns]
    rows.append(["mean of actions", "", *_main_cells(means)])
    print(text_table(rows))


def _print_paper(paper: PaperProtocol) -> None:
    print("by the protocol that the paper's authors released (one view, nothing aligned; evaluation.json says where it")
    print("is lenient), 2D in % of two metres:")
    rows = [["left and right", "MPJPE", "N-MPJPE", "P-MPJPE", "2D", "PCK", "AUC"]]
    for errors in paper.errors:
        rows.append(
            [
                {"raw": "raw", "oracle_pairs": "oracle per pair and view"}[errors.handling],
                cell(errors.mpjpe_mm, 1),
                cell(errors.n_mpjpe_mm, 1),
                cell(errors.p_mpjpe_mm, 1),
                cell(errors.percent_of_two_metres, 2),
                cell(errors.pck_150_percent, 1),
                cell(errors.auc_150_percent, 1),
            ]
        )
    print(text_table(rows))


def _print_supervised(errors: SupervisedErrors) -> None:
    found = errors.triangulated
    figures = f"MPJPE {cell(found and found.mpjpe_mm, 1)}, P-MPJPE {cell(found and found.p_mpjpe_mm, 1)}"
    name = errors.regressor.replace("_", " ")
    print(
        f"after supervised post-processing, {name}, fitted to the labels of {errors.num_training_poses} training "
        f"poses: {figures}, 2D {cell(errors.percent_of_crop, 2)}"
    )
