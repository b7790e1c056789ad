"""The parts of a page that show an evaluation, each a function from plain data to HTML."""

from __future__ import annotations

from collections.abc import Sequence

from mas_ray.evaluation.left_right import Handling
from mas_ray.evaluation.record import (
    Accuracy,
    Evaluation,
    KeypointErrors,
    PaperHandling,
    PaperProtocol,
    PoseErrors,
    Regressor,
    SupervisedErrors,
)
from mas_ray.geometry.chirality import KneeChirality
from mas_ray.reporting.elements import details, escape, figure_card, paragraph, table

_HANDLING_NAMES: dict[Handling, str] = {
    "raw": "as predicted",
    "global_bit": "one bit, no labels",
    "oracle_pose": "oracle per pose",
}
_PAPER_HANDLING_NAMES: dict[PaperHandling, str] = {"raw": "as predicted", "oracle_pairs": "oracle per pair and view"}
_REGRESSOR_NAMES: dict[Regressor, str] = {"linear": "a linear map", "two_hidden_layers": "a network, two hidden layers"}


def evaluation(found: Evaluation | None) -> str:
    """Errors under every handling of left and right, with the protocol in words."""
    if found is None:
        return paragraph("No evaluation was given.")
    source = found.source
    intro = (
        f"{source.num_frame_sets} frame sets of the {source.split} split against: {source.reference}. "
        + (
            f"{source.num_without_reference} more have no reference and do not count. "
            if source.num_without_reference
            else ""
        )
        + f"Checkpoint: {source.checkpoint}."
    )
    return "".join(
        [
            paragraph(intro),
            *(paragraph(text, "notice") for text in cautions(found)),
            _accuracy_table(found.accuracy),
            f'<ul class="handlings">{"".join(f"<li>{text}</li>" for text in _handlings(found))}</ul>',
            paragraph(f"Protocol. {found.protocol}", "caption"),
            _without_faults(found),
            details("Error per group and joint (one bit, no labels)", _joint_table(found.under("global_bit"))),
            details("Error per action (one bit, no labels)", _action_table(found.under("global_bit"))),
            *(
                [details("By the protocol that the paper's authors released", _paper(found.paper))]
                if found.paper
                else []
            ),
            *([_supervised(found.supervised)] if found.supervised else []),
        ]
    )


def headline_cards(found: Evaluation) -> list[str]:
    """The figures to see first."""
    cards: list[str] = []
    accuracy = found.under("global_bit")
    if accuracy.triangulated is not None:
        errors = accuracy.triangulated
        cards.append(figure_card("MPJPE", f"{errors.mpjpe_mm:.1f} mm", "triangulated, one left-right bit, no labels"))
        cards.append(figure_card("P-MPJPE", f"{errors.p_mpjpe_mm:.1f} mm", "after the optimal similarity transform"))
    if accuracy.keypoints is not None:
        keypoints = accuracy.keypoints
        cards.append(figure_card("2D error", f"{keypoints.percent_of_crop:.2f} %", "of the crop's side"))
    if found.ambiguity_ratio is not None:
        cards.append(figure_card("r", f"{100 * found.ambiguity_ratio:.1f} %", "views that disagree on left and right"))
    return cards


def cautions(found: Evaluation) -> list[str]:
    """What to keep in mind with every figure."""
    source = found.source
    found_cautions: list[str] = []
    if source.takes_also_trained_on:
        several = len(source.takes_also_trained_on) > 1
        found_cautions.append(
            f"Training and {source.split} frames come from the same {'clips' if several else 'clip'} "
            f"({', '.join(source.takes_also_trained_on)}), separated in time only: these figures say how well the "
            "model fits this person in this scene, not how it does on people it has not seen."
        )
    if source.split != "test":
        found_cautions.append(f"These figures are of the {source.split} split, not of a held-out test split.")
    found_cautions.append(f"All errors are against this reference, its own error included: {source.reference}.")
    return found_cautions


def _handlings(found: Evaluation) -> list[str]:
    decided = _chirality_words(found.knee_chirality)
    texts = {
        "raw": "the names exactly as the model gives them.",
        "global_bit": f"one exchange of left and right for the whole split or none, decided without labels. {decided}",
        "oracle_pose": "per frame set whichever naming is nearer to the reference. It uses the reference: a bound on "
        "what naming alone can explain, not a result.",
    }
    items = [f"<b>{escape(_HANDLING_NAMES[a.handling])}</b>: {escape(texts[a.handling])}" for a in found.accuracy]
    if found.ambiguity_ratio is not None:
        items.append(
            f"<b>r = {100 * found.ambiguity_ratio:.1f} %</b>: share of a frame's views in the minority about which "
            "side is left. 0 means that the views always agree; a coin flip per view gives 31.3 % with four views."
        )
    return items


def _chirality_words(chirality: KneeChirality | None) -> str:
    if chirality is None:
        return "No pose was triangulated, so nothing could decide it: the names are kept."
    done = "the names are exchanged" if chirality.says_swapped else "the names are kept"
    where = "behind" if chirality.says_swapped else "in front of"
    return (
        f"Knees bend forward: by the predicted names they lie {abs(chirality.mean_mm):.1f} mm {where} the straight "
        f"leg (standard error {chirality.standard_error_mm:.1f} mm over {chirality.num_poses} poses, which are "
        f"neighbours in time and not independent), so {done}."
    )


def _accuracy_row(accuracy: Accuracy) -> tuple[str, ...]:
    keypoints = accuracy.keypoints
    return (
        _HANDLING_NAMES[accuracy.handling],
        *_pose_cells(accuracy.triangulated),
        *_pose_cells(accuracy.monocular),
        _percent(keypoints),
        "–" if keypoints is None else f"{keypoints.px:.1f}",
        f"{100 * accuracy.exchanged_fraction:.0f} %",
    )


def _pose_cells(errors: PoseErrors | None) -> tuple[str, str, str]:
    if errors is None:
        return "–", "–", "–"
    return f"{errors.mpjpe_mm:.1f}", f"{errors.n_mpjpe_mm:.1f}", f"{errors.p_mpjpe_mm:.1f}"


def _joint_table(accuracy: Accuracy) -> str:
    def cell(value: float | None) -> str:
        return "–" if value is None else f"{value:.1f}"

    named = [(f"all {group.group}", group) for group in accuracy.groups]
    named += [(joint.joint.replace("_", " "), joint) for joint in accuracy.joints]
    rows = [
        (name, cell(error.triangulated_mm), cell(error.monocular_mm), cell(error.percent_of_crop))
        for name, error in named
    ]
    return table(("joint", "triangulated mm", "monocular mm", "2D % of crop"), rows)


def _accuracy_table(accuracies: Sequence[Accuracy]) -> str:
    head = (
        "left and right",
        "MPJPE mm",
        "N-MPJPE",
        "P-MPJPE",
        "mono MPJPE mm",
        "mono N",
        "mono P",
        "2D %",
        "2D px",
        "exchanged",
    )
    return table(head, [_accuracy_row(accuracy) for accuracy in accuracies])


def _without_faults(found: Evaluation) -> str:
    if not found.source.faults:
        return ""
    listed = "; ".join(f"{fault.take_id} ({fault.fault})" for fault in found.source.faults)
    intro = paragraph(f"The reference of these takes is known to be damaged: {listed}. Without them:")
    return intro + _accuracy_table(found.accuracy_without_faults)


def _action_table(accuracy: Accuracy) -> str:
    rows = [
        (
            action.action,
            str(action.num_frame_sets),
            *_pose_cells(action.triangulated),
            *_pose_cells(action.monocular),
            _percent(action.keypoints),
        )
        for action in accuracy.actions
    ]
    head = ("action", "frame sets", "MPJPE mm", "N-MPJPE", "P-MPJPE", "mono MPJPE mm", "mono N", "mono P", "2D %")
    return table(head, rows)


def _paper(found: PaperProtocol) -> str:
    head = ("left and right", "MPJPE mm", "N-MPJPE", "P-MPJPE", "2D % of 2 m", "PCK 150", "AUC")
    rows = [
        (
            _PAPER_HANDLING_NAMES[errors.handling],
            f"{errors.mpjpe_mm:.1f}",
            f"{errors.n_mpjpe_mm:.1f}",
            f"{errors.p_mpjpe_mm:.1f}",
            f"{errors.percent_of_two_metres:.2f}",
            f"{errors.pck_150_percent:.1f}",
            f"{errors.auc_150_percent:.1f}",
        )
        for errors in found.errors
    ]
    ratio = "" if found.ambiguity_ratio is None else paragraph(f"r = {100 * found.ambiguity_ratio:.1f} %")
    lenient = "".join(f"<li>{escape(point)}</li>" for point in found.lenient)
    return table(head, rows) + ratio + paragraph(found.protocol, "caption") + f'<ul class="handlings">{lenient}</ul>'


def _supervised(found: Sequence[SupervisedErrors]) -> str:
    rows = [
        (
            _REGRESSOR_NAMES[errors.regressor],
            *_pose_cells(errors.triangulated),
            "–" if errors.percent_of_crop is None else f"{errors.percent_of_crop:.2f}",
            f"{errors.num_training_poses:,}",
        )
        for errors in found
    ]
    return (
        "<h3>After supervised post-processing</h3>"
        + paragraph("Maps fitted to the labels of the training split; nothing else on this page uses any.", "notice")
        + table(("map", "MPJPE mm", "N-MPJPE", "P-MPJPE", "2D %", "fitted to poses"), rows)
    )


def _percent(keypoints: KeypointErrors | None) -> str:
    return "–" if keypoints is None else f"{keypoints.percent_of_crop:.2f}"
