"""Calibration files of a take: Pose2Sim's TOML, or our JSON of the same content, read into ``Calibration``.

Each camera is a table. In TOML (Pose2Sim's convention) the tables stand at the top, a ``[metadata]`` table is
ignored; our JSON puts them under one key::

    {"cameras": {"cam01": {"name": "cam01", "size": [width, height], "matrix": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]],
                           "distortions": [k1, k2, p1, p2], "rotation": [rx, ry, rz], "translation": [tx, ty, tz]}}}

``rotation`` (a Rodrigues vector, radians) and ``translation`` (METRES) are camera_from_world:
``x_camera = R @ x_world + t``, OpenCV's axes. ``distortions`` are OpenCV's k1, k2, p1, p2[, k3], or empty.
Without ``name`` the table's own name counts. Metres end here: everything else speaks millimetres.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mas_ray.config import codec
from mas_ray.corpora.take import Calibration

SUFFIXES = (".json", ".toml")
_MM_PER_M = 1000.0
_LARGEST_TURN_RAD = 100.0
_FARTHEST_M = 1000.0
_Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class CameraTable:
    """One camera as the file spells it."""

    size: tuple[float, float]
    matrix: tuple[_Triple, _Triple, _Triple]
    distortions: tuple[float, ...]
    rotation: _Triple
    translation: _Triple
    name: str | None = None
    fisheye: bool = False

    def __post_init__(self) -> None:
        numbers = [*self.size, *np.ravel(self.matrix), *self.distortions, *self.rotation, *self.translation]
        if not np.isfinite(numbers).all():
            raise ValueError("size, matrix, distortions, rotation or translation: expected finite numbers")
        if self.fisheye:
            raise ValueError("fisheye: fisheye lenses are not supported, expected false")
        if any(side < 1 or side != int(side) for side in self.size):
            raise ValueError(f"size: expected [width, height] in whole pixels, got {list(self.size)}")
        (fx, skew, _), (shear, fy, _), last = self.matrix
        if min(fx, fy) <= 0 or skew != 0 or shear != 0 or last != (0, 0, 1):
            raise ValueError("matrix: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with positive fx and fy")
        if len(self.distortions) not in (0, 4, 5):
            raise ValueError(f"distortions: expected 4 or 5 coefficients (or none), got {len(self.distortions)}")
        if max(abs(radians) for radians in self.rotation) > _LARGEST_TURN_RAD:
            raise ValueError(f"rotation: expected a Rodrigues vector in radians, got {list(self.rotation)}")
        if max(abs(metres) for metres in self.translation) > _FARTHEST_M:
            raise ValueError(f"translation: expected metres, got {list(self.translation)} (millimetres?)")


def read_calibrations(path: Path) -> dict[str, Calibration]:
    """Read the cameras of a ``.toml`` or ``.json`` calibration file, by camera name, in the order of the names.

    Raises:
        ValueError: The file is not of the format above; the message gives file, camera and field.
    """
    tables = _toml_tables(path) if path.suffix == ".toml" else _json_tables(path)
    if not tables:
        raise ValueError(f"{path}: no cameras; expected a table for each")
    calibrations: dict[str, Calibration] = {}
    for key, data in tables.items():
        table = codec.from_json(CameraTable, data, f"{path}: {key}")
        name = table.name or key
        if name in calibrations:
            raise ValueError(f"{path}: {key}.name: another camera is called {name!r} too")
        calibrations[name] = calibration_of(table)
    return dict(sorted(calibrations.items()))


def write_calibrations(path: Path, calibrations: Mapping[str, Calibration]) -> None:
    """Write cameras as our JSON, whole or not at all. ``read_calibrations`` gives them back."""
    cameras = {name: codec.to_json(_table(name, calibrations[name])) for name in sorted(calibrations)}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps({"cameras": cameras}, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _toml_tables(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from None
    tables.pop("metadata", None)
    return tables


def _json_tables(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(data, dict) or set(data) != {"cameras"} or not isinstance(data["cameras"], dict):
        raise ValueError(f'{path}: cameras: expected {{"cameras": {{name: {{...}}}}}} and no other key')
    return data["cameras"]


def calibration_of(table: CameraTable) -> Calibration:
    """The camera of a table; metres become millimetres."""
    return Calibration(
        width_px=int(table.size[0]),
        height_px=int(table.size[1]),
        K=np.array(table.matrix, dtype=np.float64),
        distortion=np.array(table.distortions, dtype=np.float64),
        R=np.asarray(cv2.Rodrigues(np.array(table.rotation, dtype=np.float64))[0], dtype=np.float64),
        t_mm=np.array(table.translation, dtype=np.float64) * _MM_PER_M,
    )


def _table(name: str, calibration: Calibration) -> CameraTable:
    fx_row, fy_row, last_row = (_triple(row) for row in calibration.K)
    return CameraTable(
        name=name,
        size=(float(calibration.width_px), float(calibration.height_px)),
        matrix=(fx_row, fy_row, last_row),
        distortions=tuple(float(k) for k in calibration.distortion),
        rotation=_triple(cv2.Rodrigues(calibration.R)[0].ravel()),
        translation=_triple(calibration.t_mm / _MM_PER_M),
    )


def _triple(values: Any) -> _Triple:
    a, b, c = (float(value) for value in values)
    return a, b, c
