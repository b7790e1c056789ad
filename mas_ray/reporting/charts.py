"""Small line charts as inline SVG. Colours come from the page's style."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mas_ray.reporting.elements import escape

_WIDTH, _HEIGHT = 280.0, 130.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 8.0, 8.0, 20.0


def line_chart(title: str, points: Sequence[tuple[float, float]], *, x_name: str) -> str:
    """One series over ``x_name`` with its first and last x, its range, and its last value in the title.

    Points whose y is not finite are left out; with none left the chart says so.
    """
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    if not finite:
        return _framed(
            title, "", f'<text x="{_WIDTH / 2}" y="{_HEIGHT / 2}" class="tick middle">no finite value</text>'
        )
    xs, ys = [x for x, _ in finite], [y for _, y in finite]
    low, high = _padded(min(ys), max(ys))
    first, last = min(xs), max(xs)

    def place(x: float, y: float) -> tuple[float, float]:
        along = (x - first) / (last - first) if last > first else 0.5
        up = (y - low) / (high - low)
        return _LEFT + along * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    placed = [place(x, y) for x, y in finite]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    end_x, end_y = placed[-1]
    content = (
        _grid_line(place(first, max(ys))[1], max(ys))
        + (_grid_line(place(first, min(ys))[1], min(ys)) if max(ys) > min(ys) else "")
        + f'<polyline points="{path}"/><circle cx="{end_x:.1f}" cy="{end_y:.1f}" r="2.5"/>'
        + f'<text x="{_LEFT}" y="{_HEIGHT - 5}" class="tick">{x_name} {first:g}</text>'
        + f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 5}" class="tick end">{last:g}</text>'
    )
    return _framed(title, short_number(ys[-1]), content)


def short_number(value: float) -> str:
    """Three significant digits, without an exponent where that is shorter to read."""
    return f"{value:.3g}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.1e}"


def _framed(title: str, last: str, content: str) -> str:
    return (
        f'<figure class="chart"><figcaption><span>{escape(title)}</span><b>{last}</b></figcaption>'
        f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{escape(title)}, last value {last}">'
        f"{content}</svg></figure>"
    )


def _grid_line(y: float, value: float) -> str:
    return (
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 5}" y="{y + 3.5:.1f}" class="tick end">{short_number(value)}</text>'
    )


def _padded(low: float, high: float) -> tuple[float, float]:
    margin = 0.06 * (high - low) or 0.5 * abs(high) or 1.0
    return low - margin, high + margin
