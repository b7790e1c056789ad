"""Figures in columns for the terminal."""

from __future__ import annotations

from collections.abc import Sequence


def cell(value: float | None, decimals: int) -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else f"{value:.{decimals}f}"


def text_table(rows: Sequence[Sequence[str]], *, num_names: int = 1) -> str:
    """The rows in columns, indented: the first ``num_names`` to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [
                "",
                *(
                    c.ljust(w) if n < num_names else c.rjust(w)
                    for n, (c, w) in enumerate(zip(row, widths, strict=True))
                ),
            ]
        ).rstrip()
        for row in rows
    )
