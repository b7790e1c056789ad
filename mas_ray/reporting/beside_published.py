"""A table of the paper with measured figures beside the published ones, and whether their order agrees."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import fields

from mas_ray.config.published import AblationRow, Figures
from mas_ray.reporting import markdown

_COLUMNS = {"mpjpe_mm": ("MPJPE mm", 1.0, 1), "ambiguity_ratio": ("r %", 100.0, 2), "percent_of_crop": ("2D %", 1.0, 2)}
"""Per figure its name, the factor it is shown with, and decimals."""


def beside_published(rows: Sequence[AblationRow], measured: Sequence[Figures]) -> str:
    """The table in Markdown; pairs of rows that differ in more than their names say are counted by themselves.

    Args:
        rows: A table of the paper.
        measured: One per row, in the same order.

    Raises:
        ValueError: There is not one per row.
    """
    if len(measured) != len(rows):
        raise ValueError(f"measured: expected one per row ({len(rows)}), got {len(measured)}")
    shown = [f.name for f in fields(Figures) if any(getattr(row.published, f.name) is not None for row in rows)]
    lines = [["", *(f"{_COLUMNS[name][0]} {source}" for name in shown for source in ("measured", "published"))]]
    for row, ours in zip(rows, measured, strict=True):
        lines.append([marked(row), *(_shown(source, name) for name in shown for source in (ours, row.published))])
    remarks = [*(_order(rows, measured, name) for name in shown), *caveats(rows)]
    return "\n".join([markdown.table(lines), "", *(f"- {remark}" for remark in remarks)])


def marked(row: AblationRow) -> str:
    """A row's configuration, with a star if the row goes without more than that."""
    return f"{row.configuration} \\*" if row.also_without else row.configuration


def caveats(rows: Sequence[AblationRow]) -> list[str]:
    """What the stars stand for."""
    lost = dict.fromkeys(row.also_without for row in rows if row.also_without)
    return [
        f"\\* Not that alone ({_listed([row for row in rows if row.also_without == what])}): also without {what}."
        for what in lost
    ]


def _shown(values: Figures, name: str) -> str:
    value = getattr(values, name)
    _, factor, decimals = _COLUMNS[name]
    return markdown.figure(None if value is None else factor * value, decimals)


def _order(rows: Sequence[AblationRow], measured: Sequence[Figures], name: str) -> str:
    """The rows from best to worst, as published and as measured, and which pairs of them do not agree."""
    found = {
        row: (getattr(row.published, name), getattr(ours, name))
        for row, ours in zip(rows, measured, strict=True)
        if getattr(row.published, name) is not None and getattr(ours, name) is not None
    }
    published, ranked = (sorted(found, key=lambda row: found[row][n]) for n in (0, 1))
    pairs = list(itertools.combinations(published, 2))
    wrong = [pair for pair in pairs if not found[pair[0]][1] < found[pair[1]][1]]
    alike = [pair for pair in pairs if pair[0].also_without == pair[1].also_without]
    others = [pair for pair in pairs if pair not in alike]
    text = (
        f"{_COLUMNS[name][0]}, best first. Published: {_listed(published)}. Measured: {_listed(ranked)}. "
        f"{_agreement(alike, wrong)}"
    )
    return text + (f" By the caveat below no proof either way: {_agreement(others, wrong)}" if others else "")


def _listed(rows: Sequence[AblationRow]) -> str:
    return "; ".join(row.configuration for row in rows)


_Pair = tuple[AblationRow, AblationRow]


def _agreement(pairs: Sequence[_Pair], wrong: Sequence[_Pair]) -> str:
    against = [
        f"{better.configuration} better than {worse.configuration}"
        for better, worse in pairs
        if (better, worse) in wrong
    ]
    text = f"{len(pairs) - len(against)} of {len(pairs)} pairs in the published order."
    return text + (f" What does not hold: {'; '.join(against)}." if against else "")
