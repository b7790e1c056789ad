"""The sections of the report, each a function from plain data to HTML."""

from __future__ import annotations

from collections.abc import Sequence

from mas_ray.evaluation.record import Evaluation
from mas_ray.reporting.charts import line_chart
from mas_ray.reporting.data import GalleryFrame, ReportData, StageCurves, Video
from mas_ray.reporting.elements import data_uri, details, escape, figure_card, paragraph, picture, table
from mas_ray.reporting.evaluation_sections import cautions, headline_cards
from mas_ray.reporting.viewer import SPLIT_NAMES, PoseSequence
from mas_ray.shards.manifest import Manifest


def summary(data: ReportData) -> str:
    """The figures that matter and what they are worth."""
    cards: list[str] = []
    notes: list[str] = []
    if data.evaluation is not None:
        cards += headline_cards(data.evaluation)
        notes += [paragraph(text, "notice") for text in cautions(data.evaluation)]
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
