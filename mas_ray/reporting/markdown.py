"""Figures in tables of Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def figure(value: float | None, decimals: int) -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else f"{value:.{decimals}f}"


def plus_minus(mean: float | None, deviation: float | None, decimals: int) -> str:
    """A mean and its standard deviation, if there is one; a dash where there is no mean."""
    return figure(mean, decimals) + ("" if deviation is None else f" ± {deviation:.{decimals}f}")


def table(rows: Sequence[Sequence[str]]) -> str:
    """The rows, of which the first is the header; names in the first column, figures in the others."""
    header, *body = rows
    lines = [header, ["---", *("---:" for _ in header[1:])], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
