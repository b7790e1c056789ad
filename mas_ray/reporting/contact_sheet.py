"""The contact sheet: accepted crops and rejected pictures side by side, one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template

from mas_ray.reporting.elements import escape, figure_card, paragraph, picture
from mas_ray.shards.manifest import Manifest
from mas_ray.shards.reject_samples import RejectSample


@dataclass(frozen=True, kw_only=True)
class AcceptedSample:
    """A crop as JPEG, with the outline of its mask."""

    take_id: str
    instant: int
    view: str
    picture: bytes


@dataclass(frozen=True, kw_only=True)
class ContactSheet:
    """What the page shows."""

    manifest: Manifest
    accepted: Sequence[AcceptedSample]
    rejected: Sequence[RejectSample]


def render_contact_sheet(sheet: ContactSheet) -> str:
    """The page as HTML text; style and pictures are inside."""
    manifest = sheet.manifest
    template = resources.files("mas_ray.reporting") / "contact_sheet.html"
    return Template(template.read_text(encoding="utf-8")).substitute(
        corpus=escape(manifest.corpus),
        code_version=escape(manifest.code_version),
        cards=_cards(manifest),
        accepted=_tiles(
            [(sample.picture, _where(sample.take_id, sample.instant, sample.view)) for sample in sheet.accepted],
            kind="accepted",
        ),
        rejected=_rejected(sheet),
    )


def _cards(manifest: Manifest) -> str:
    def left_out(level: str) -> str:
        return f"{sum(reject.count for reject in manifest.rejects if reject.level == level):,}"

    instants = sum(take.num_instants for take in manifest.takes)
    return "".join(
        [
            figure_card("takes", f"{len(manifest.takes):,}", f"{left_out('take')} left out"),
            figure_card("instants", f"{instants:,}", f"{left_out('instant')} left out"),
            figure_card("views left out", left_out("view"), "of instants and takes that stay, too"),
        ]
    )


def _rejected(sheet: ContactSheet) -> str:
    """A group per reason, those given most often first; a reason without pictures says so."""
    counts: dict[str, dict[str, int]] = {}
    for reject in sheet.manifest.rejects:
        if reject.reason != "no_views":  # its views have given their reasons
            counts.setdefault(reject.reason, {})[reject.level] = reject.count
    for sample in sheet.rejected:
        counts.setdefault(sample.reason, {})
    if not counts:
        return paragraph("Nothing was left out.")
    reasons = sorted(counts, key=lambda reason: (-sum(counts[reason].values()), reason))
    return "".join(_reason(reason, counts[reason], sheet.rejected) for reason in reasons)


def _reason(reason: str, counts: dict[str, int], rejected: Sequence[RejectSample]) -> str:
    tiles = [(s.thumbnail, _where(s.take_id, s.instant, s.view)) for s in rejected if s.reason == reason]
    how_often = ", ".join(f"{count:,} {level}{'s' if count != 1 else ''}" for level, count in sorted(counts.items()))
    content = _tiles(tiles, kind="rejected") if tiles else paragraph("There are no pictures of it.", "caption")
    return f"<h3>{escape(reason.replace('_', ' '))} <small>{escape(how_often)}</small></h3>{content}"


def _tiles(pictures: Sequence[tuple[bytes, str]], *, kind: str) -> str:
    if not pictures:
        return paragraph("There are none.", "caption")
    figures = "".join(
        f"<figure>{picture(jpeg, f'{kind}: {where}')}<figcaption>{escape(where)}</figcaption></figure>"
        for jpeg, where in pictures
    )
    return f'<div class="tiles {kind}">{figures}</div>'


def _where(take_id: str, instant: int | None, view: str | None) -> str:
    parts = [take_id, "whole take" if instant is None else f"frame {instant}"]
    return " · ".join([*parts, view] if view is not None and view != take_id else parts)
