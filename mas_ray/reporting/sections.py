"""The sections of the report, each a function from plain data to HTML."""

from __future__ import annotations

from collections.abc import Sequence

from mas_ray.evaluation.left_right import Handling
from mas_ray.evaluation.record import Accuracy, Evaluation, PoseErrors
from mas_ray.geometry.chirality import KneeChirality
from mas_ray.reporting.charts import line_chart
from mas_ray.reporting.data import GalleryFrame, ReportData, StageCurves, Video
from mas_ray.reporting.elements import data_uri, details, escape, figure_card, paragraph, picture, table
from mas_ray.reporting.viewer import SPLIT_NAMES, PoseSequence
from mas_ray.shards.manifest import Manifest

_HANDLING_NAMES: dict[Handling, str] = {
    "raw": "as predicted",
    "global_bit": "one bit, no labels",
    "oracle_pose": "oracle per pose",
}


def summary(data: ReportData) -> str:
    """The figures that matter and what they are worth."""
    cards: list[str] = []
    notes: list[str] = []
    if data.evaluation is not None:
        cards += _headline_cards(data.evaluation)
        notes += [paragraph(text, "notice") for text in _cautions(data.evaluation)]
    else:
        notes.append(paragraph("Not evaluated: no evaluation was given, so this page makes no claim of accuracy."))
    num_instants = sum(take.num_instants for take in data.manifest.takes)
    num_views = max((len(take.views) for take in data.manifest.takes), default=0)
    epochs = sum(len(stage.records) for stage in data.stages)
    cards.append(figure_card("frame sets", f"{num_instants:,}", f"instants, up to {num_views} views each"))
    cards.append(figure_card("stages trained", str(len(data.stages)), f"{epochs} epochs, no pose label"))
    return f'<div class="cards">{"".join(cards)}</div>{"".join(notes)}'


def videos(found: Sequence[Video]) -> str:
    """The overlay videos, which lie beside the page."""
    if not found:
        return paragraph("No overlay videos were drawn.")
    figures = [
        f'<figure><video controls muted loop playsinline preload="none" src="{escape(video.href)}"'
        + (f' poster="{data_uri(video.poster)}"' if video.poster else "")
        + f'></video><figcaption><a href="{escape(video.href)}">{escape(video.name)}</a></figcaption></figure>'
        for video in found
    ]
    return f'<div class="videos">{"".join(figures)}</div>'


def poses(sequences: Sequence[PoseSequence], found: Evaluation | None) -> str:
    """The stage of the 3D viewer; the script fills it."""
    if not sequences:
        return paragraph("No triangulated poses were given: that takes predictions of at least two calibrated views.")
    caption = "Triangulated joints in the world. Left is orange, right is blue. Drag to turn."
    if found is not None and found.knee_chirality is not None and found.knee_chirality.says_swapped:
        caption += " Left and right are exchanged in all predictions, as the knees say (see Evaluation)."
    return (
        '<div id="viewer"><div class="stage"><canvas aria-label="3D skeleton"></canvas></div>'
        '<div class="controls"><button type="button" class="play">Play</button>'
        '<input type="range" class="scrub" min="0" value="0" step="1" aria-label="frame">'
        '<select class="sequence" aria-label="take"></select><span class="where"></span></div></div>'
        + paragraph(caption, "caption")
    )


def gallery(frames: Sequence[GalleryFrame]) -> str:
    """What went in and what came out, for all views of some instants."""
    if not frames:
        return paragraph("No pictures were made.")
    first, *others = frames
    return f"<h3>{escape(_frame_name(first))}</h3>{_gallery_frame(first)}" + "".join(
        details(_frame_name(frame), _gallery_frame(frame)) for frame in others
    )


def training(stages: Sequence[StageCurves]) -> str:
    """Loss curves, stage by stage."""
    if not stages:
        return paragraph("No stage has reported anything.")
    return "".join(_stage(stage) for stage in stages)


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
            *(paragraph(text, "notice") for text in _cautions(found)),
            table(
                (
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
                ),
                [_accuracy_row(accuracy) for accuracy in found.accuracy],
            ),
            f'<ul class="handlings">{"".join(f"<li>{text}</li>" for text in _handlings(found))}</ul>',
            paragraph(f"Protocol. {found.protocol}", "caption"),
            details("Error per group and joint (one bit, no labels)", _joint_table(found.under("global_bit"))),
        ]
    )


def dataset(manifest: Manifest) -> str:
    """Takes, splits and what was left out."""
    split_sizes = {name: {r.take_id: r.stop - r.start for r in manifest.splits.ranges(name)} for name in SPLIT_NAMES}
    rows = [
        (
            take.take_id,
            take.subject,
            take.action,
            ", ".join(take.views),
            str(take.num_instants),
            *(str(split_sizes[name].get(take.take_id, 0)) for name in SPLIT_NAMES),
        )
        for take in manifest.takes
    ]
    rejects = [(reject.reason.replace("_", " "), reject.level, f"{reject.count:,}") for reject in manifest.rejects]
    return (
        table(("take", "subject", "action", "views", "instants", *SPLIT_NAMES), rows, num_text_columns=4)
        + paragraph("The splits are ranges of frame numbers; an instant in a gap between them is not used.", "caption")
        + "<h3>Left out</h3>"
        + (
            table(("reason", "level", "count"), rejects, num_text_columns=2)
            if rejects
            else paragraph("Nothing was rejected.")
        )
    )


def _headline_cards(found: Evaluation) -> list[str]:
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


def _cautions(found: Evaluation) -> list[str]:
    source = found.source
    cautions: list[str] = []
    if source.takes_also_trained_on:
        several = len(source.takes_also_trained_on) > 1
        cautions.append(
            f"Training and {source.split} frames come from the same {'clips' if several else 'clip'} "
            f"({', '.join(source.takes_also_trained_on)}), separated in time only: these figures say how well the "
            "model fits this person in this scene, not how it does on people it has not seen."
        )
    if source.split != "test":
        cautions.append(f"These figures are of the {source.split} split, not of a held-out test split.")
    cautions.append(f"All errors are against this reference, its own error included: {source.reference}.")
    return cautions


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
        "–" if keypoints is None else f"{keypoints.percent_of_crop:.2f}",
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


def _stage(stage: StageCurves) -> str:
    found = {key for record in stage.records for key in record if key.startswith(("loss/", "validation/"))}
    first = [term for term in ("loss/total", "validation/reconstruction") if term in found]
    others = sorted(found.difference(first))
    content = _charts(stage, first) if first else paragraph("It has not reported an epoch.")
    return f"<h3>{escape(stage.name)}</h3>{content}" + (
        details(f"The loss term by term ({len(others)})", _charts(stage, others)) if others else ""
    )


def _charts(stage: StageCurves, terms: Sequence[str]) -> str:
    charts = [
        line_chart(
            _term_name(term),
            [(float(record["step"]), float(record[term])) for record in stage.records if term in record],
            x_name="step",
        )
        for term in terms
    ]
    return f'<div class="charts">{"".join(charts)}</div>'


def _term_name(term: str) -> str:
    return term.removeprefix("loss/").replace("validation/", "held-out ").replace("_", " ")


def _gallery_frame(frame: GalleryFrame) -> str:
    rows = [
        f'<div class="view"><h4>{escape(view.view)}</h4><div class="tiles">'
        + "".join(
            f"<figure>{picture(jpeg, f'{what}, {view.view}')}<figcaption>{escape(what)}</figcaption></figure>"
            for what, jpeg in view.pictures.items()
        )
        + "</div></div>"
        for view in frame.views
    ]
    return f'<div class="views">{"".join(rows)}</div>'


def _frame_name(frame: GalleryFrame) -> str:
    return f"{frame.take_id}, frame {frame.instant}, {frame.split} split"
