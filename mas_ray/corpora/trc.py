"""Reader of TRC files: marker positions over time, as OpenSim and Pose2Sim keep them.

Tab-separated text: three header lines (the second names ``NumMarkers`` and ``Units`` and the third gives their
values), one line of marker names, one of axis names, then ``Frame#``, ``Time`` and x, y, z of every marker.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

_NUM_HEADER_LINES = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Trc:
    """Markers of one recording, in the file's own axes."""

    markers: tuple[str, ...]
    frame_numbers: Int64[np.ndarray, " frames"]
    positions_m: Float64[np.ndarray, "frames markers 3"]


def read_trc(path: Path) -> Trc:
    """Read a TRC file whose unit is the metre.

    Raises:
        ValueError: The file is not of the format above; the message gives its path and what was expected.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    if len(lines) <= _NUM_HEADER_LINES:
        raise ValueError(f"{path}: expected {_NUM_HEADER_LINES} header lines and rows, got {len(lines)} lines")
    header = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=False))
    if header.get("Units") != "m":
        raise ValueError(f"{path}: Units: expected 'm', got {header.get('Units')!r}")
    markers = tuple(name.strip() for name in lines[3].split("\t")[2:] if name.strip())
    num_columns = 2 + 3 * len(markers)
    rows = [line.split("\t")[:num_columns] for line in lines[_NUM_HEADER_LINES:] if line.strip()]
    try:
        table = np.array(rows, dtype=np.float64).reshape(len(rows), num_columns)
    except ValueError:
        raise ValueError(f"{path}: expected {num_columns} numbers in every row of {len(markers)} markers") from None
    return Trc(
        markers=markers,
        frame_numbers=table[:, 0].astype(np.int64),
        positions_m=table[:, 2:].reshape(len(rows), len(markers), 3),
    )
