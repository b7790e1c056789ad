"""A table of the paper with measured figures beside the published ones, and whether their order agrees."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import fields

from mas_ray.config.published import AblationRow, Figures
from mas_ray.evaluation.over_seeds import Spread
from mas_ray.reporting import markdown

_COLUMNS = {"mpjpe_mm": ("MPJPE mm", 1.0, 1), "ambiguity_ratio": ("r %", 100.0, 2), "percent_of_crop": ("2D %", 1.0, 2)}
"""Per figure its name, the factor it is shown with, and decimals."""
_NO_DEVIATION = Figures()


def beside_published(
    rows: Sequence[AblationRow], measured: Sequence[Figures], *, spreads: Sequence[Spread] | None = None
) -> str:
    """The table in Markdown; pairs of rows that differ in more than their names say are counted by themselves.

    Args:
        rows: A table of the paper.
        measured: One per row, in the same order.
        spreads: Likewise, where they are means over seeds.

    Raises:
        ValueError: There is not one per row.
    """
    for name, given in (("measured", measured), ("spreads", spreads)):
        if given is not None and len(given) != len(rows):
            raise ValueError(f"{name}: expected one per row ({len(rows)}), got {len(given)}")
    shown = [f.name for f in fields(Figures) if any(getattr(row.published, f.name) is not None for row in rows)]
    lines = [["", *(f"{_COLUMNS[name][0]} {source}" for name in shown for source in ("measured", "published"))]]
    for place, (row, ours) in enumerate(zip(rows, measured, strict=True)):
        deviation = _NO_DEVIATION if spreads is None else spreads[place].deviation
        pairs = [(_shown(ours, name, deviation), _shown(row.published, name)) for name in shown]
        lines.append([marked(row), *itertools.chain.from_iterable(pairs)])
    if spreads is not None:
        column = ["over", *(seeds_of(spread.num_seeds) for spread in spreads)]
        lines = [[*line, cell] for line, cell in zip(lines, column, strict=True)]
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


def seeds_of(num: int) -> str:
    """Of how many seeds a mean is."""
    return "1 seed" if num == 1 else f"{num} seeds"


def _shown(values: Figures, name: str, deviation: Figures = _NO_DEVIATION) -> str:
    _, factor, decimals = _COLUMNS[name]
    mean, apart = (
        None if value is None else factor * value for value in (getattr(values, name), getattr(deviation, name))
    )
    return markdown.plus_minus(mean, apart, decimals)


def _order(rows: Sequence[AblationRow], measured: Sequence[Figures], name: str) -> str:
    """The rows from best to worst, as published and as measured, and which pairs of them do not agree."""
    found = {
        row: (getattr(row.published, name), getattr(ours, name))
        for row, ours in zip(rows, measured, strict=True)
        if getattr(row.published, name) is not None and getattr(ours, name) is not None
    }
    if len(found) < 2:
        return f"{_COLUMNS[name][0]}: no two published rows were measured, so there is no order."
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
