"""The camera files of MPI-INF-3DHP, for the corpus and for the reader of its reference joints alike.

``camera.calibration`` of a training sequence (Skeletool's text) holds fourteen cameras::

    Skeletool Camera Calibration File V1.0
    name          0
      sensor      10 10
      size        2048 2048
      animated    0
      intrinsic   <4 x 4, row by row, pixels>
      extrinsic   <4 x 4, row by row: camera_from_world, millimetres, OpenCV's axes>
      radial      0

The test set's ``ts1-4cameras.calib`` and ``ts5-6cameras.calib`` speak of lens and sensor in millimetres. Neither says
where in a pixel its coordinates point; they are taken as ours, which is at most half a pixel off.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

_HEADER = "Skeletool Camera Calibration File"
_MOST_SKEW = 1e-3  # the files have seven digits


@dataclass(frozen=True, kw_only=True, eq=False)
class StudioCamera:
    """A pinhole camera: ``x_camera = R @ x_world + t``, millimetres, OpenCV's axes; K in pixels."""

    width_px: int
    height_px: int
    K: Float64[np.ndarray, "3 3"]
    R: Float64[np.ndarray, "3 3"]
    t_mm: Float64[np.ndarray, " 3"]

    def project(self, camera_mm: Float64[np.ndarray, "*points 3"]) -> Float64[np.ndarray, "*points 2"]:
        """Pixels of points in the camera's coordinates."""
        image = camera_mm @ self.K.T
        return image[..., :2] / image[..., 2:]

    def world_from(self, camera_mm: Float64[np.ndarray, "*points 3"]) -> Float64[np.ndarray, "*points 3"]:
        """Points in the camera's coordinates, in the world's."""
        return (camera_mm - self.t_mm) @ self.R


def read_studio_cameras(path: Path) -> dict[int, StudioCamera]:
    """The cameras of a ``camera.calibration`` by their numbers.

    Raises:
        ValueError: It is no such file, or a camera is distorted, skewed or mirrored; one line names file and camera.
    """
    lines = _lines(path)
    if not lines or " ".join(lines[0]).startswith(_HEADER) is False:
        raise ValueError(f"{path}: expected a file that begins with {_HEADER!r}")
    cameras: dict[int, dict[str, list[str]]] = {}
    fields: dict[str, list[str]] = {}
    try:
        for key, *values in lines[1:]:
            if key == "name":
                fields = cameras[int(values[0])] = {}
            fields[key] = values
        return {number: _camera(of_camera, f"{path}: camera {number}") for number, of_camera in cameras.items()}
    except IndexError:
        raise ValueError(f"{path}: expected a number after each name") from None


def read_test_camera(path: Path, *, width_px: int, height_px: int) -> StudioCamera:
    """The camera of a ``.calib`` of the test set, whose reference is in the camera's own coordinates.

    Its distortion is left out, as in the test set's own tools.

    Raises:
        ValueError: It is no such file; one line names file and field.
    """
    fields = {key: values for key, *values in _lines(path)}
    sensor_mm = _numbers(fields, "sensorSize", 2, str(path))
    (focal_mm,) = _numbers(fields, "focalLength", 1, str(path))
    offset_mm = _numbers(fields, "centerOffset", 2, str(path))
    if sensor_mm.min() <= 0 or focal_mm <= 0:
        raise ValueError(f"{path}: sensorSize or focalLength: expected millimetres above 0")
    size_px = np.array([width_px, height_px], dtype=np.float64)
    px_per_mm = size_px / sensor_mm
    K = np.diag([*(focal_mm * px_per_mm), 1.0])
    K[:2, 2] = size_px / 2 + offset_mm * px_per_mm
    return StudioCamera(width_px=width_px, height_px=height_px, K=K, R=np.eye(3), t_mm=np.zeros(3))


def _camera(fields: dict[str, list[str]], where: str) -> StudioCamera:
    size = _numbers(fields, "size", 2, where)
    intrinsic = _numbers(fields, "intrinsic", 16, where).reshape(4, 4)
    extrinsic = _numbers(fields, "extrinsic", 16, where).reshape(4, 4)
    K, R = intrinsic[:3, :3], extrinsic[:3, :3]
    if "radial" in fields and np.any(_numbers(fields, "radial", len(fields["radial"]), where)):
        raise ValueError(f"{where}: radial: expected no distortion (0), got {' '.join(fields['radial'])}")
    if min(K[0, 0], K[1, 1]) <= 0 or K[0, 1] != 0 or K[1, 0] != 0 or K[2].tolist() != [0, 0, 1]:
        raise ValueError(f"{where}: intrinsic: expected fx 0 cx 0, 0 fy cy 0, 0 0 1 0, 0 0 0 1, row by row")
    if not np.allclose(R @ R.T, np.eye(3), atol=_MOST_SKEW) or np.linalg.det(R) < 0:
        raise ValueError(f"{where}: extrinsic: expected a rotation in its upper left 3 x 3")
    if extrinsic[3].tolist() != [0, 0, 0, 1]:
        raise ValueError(f"{where}: extrinsic: expected a last row of 0 0 0 1")
    return StudioCamera(width_px=int(size[0]), height_px=int(size[1]), K=K, R=R, t_mm=extrinsic[:3, 3])


def _numbers(fields: dict[str, list[str]], key: str, count: int, where: str) -> Float64[np.ndarray, " count"]:
    if key not in fields:
        raise ValueError(f"{where}: {key}: missing, expected {count} numbers")
    try:
        numbers = np.array(fields[key], dtype=np.float64)
    except ValueError:
        numbers = np.array([])
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"{where}: {key}: expected {count} numbers, got {' '.join(fields[key])!r}")
    return numbers


def _lines(path: Path) -> list[list[str]]:
    """The words of each line that has some and is no comment."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected a text file") from None
    return [words for line in text.splitlines() if (words := line.partition("#")[0].split())]
