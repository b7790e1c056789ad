"""Small charts as inline SVG. Colours come from the page's style."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mas_ray.reporting.elements import escape

_WIDTH, _HEIGHT = 280.0, 130.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 8.0, 8.0, 20.0
_NOTHING = f'<text x="{_WIDTH / 2}" y="{_HEIGHT / 2}" class="tick middle">no finite value</text>'


def line_chart(title: str, points: Sequence[tuple[float, float]], *, x_name: str) -> str:
    """One series over ``x_name`` with its first and last x, its range, and its last value in the title.

    Points whose y is not finite are left out; with none left the chart says so.
    """
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    if not finite:
        return _framed(title, "", _NOTHING)
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


def histogram(title: str, values: Sequence[float], *, unit: str, num_bins: int = 24) -> str:
    """How often values fall into each of equal ranges from zero on; the median is in the title.

    The last range holds everything beyond the 99th percentile too. With no finite value the chart says so.
    """
    finite = sorted(value for value in values if math.isfinite(value))
    if not finite:
        return _framed(title, "", _NOTHING)
    top = finite[min(len(finite) - 1, int(0.99 * len(finite)))] or 1.0
    counts = [0] * num_bins
    for value in finite:
        counts[min(num_bins - 1, int(value / top * num_bins))] += 1
    width, height = (_WIDTH - _LEFT - _RIGHT) / num_bins, _HEIGHT - _TOP - _BOTTOM
    bars = "".join(
        f'<rect x="{_LEFT + n * width:.1f}" y="{_HEIGHT - _BOTTOM - height * count / max(counts):.1f}" '
        f'width="{0.9 * width:.1f}" height="{height * count / max(counts):.1f}"/>'
        for n, count in enumerate(counts)
    )
    content = (
        _grid_line(_TOP, float(max(counts)))
        + bars
        + f'<text x="{_LEFT}" y="{_HEIGHT - 5}" class="tick">0</text>'
        + f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 5}" class="tick end">{short_number(top)} {escape(unit)}</text>'
    )
    return _framed(title, f"median {short_number(finite[len(finite) // 2])} {unit}", content)


def short_number(value: float) -> str:
    """Three significant digits, without an exponent where that is shorter to read."""
    return f"{value:.3g}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.1e}"


def _framed(title: str, figure: str, content: str) -> str:
    return (
        f'<figure class="chart"><figcaption><span>{escape(title)}</span><b>{escape(figure)}</b></figcaption>'
        f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{escape(title)}, {escape(figure)}">'
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
