"""Calibration files of single cameras as OpenCV's own programs write them (``cv2.FileStorage``, YAML).

``image_width``, ``image_height``, ``camera_matrix`` and ``distortion_coefficients`` (4 or 5), as OpenCV's calibration
sample names them; ``R`` (a matrix or a Rodrigues vector) and ``T`` (METRES) are camera_from_world:
``x_camera = R @ x_world + T``.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mas_ray.corpora.calibration_files import CameraTable, calibration_of
from mas_ray.corpora.take import Calibration

SUFFIXES = (".yaml", ".yml")


def read_opencv_calibration(path: Path) -> Calibration:
    """Read one camera.

    Raises:
        ValueError: The file is not of the format above; the message gives file and field.
    """
    try:
        text = path.read_text(encoding="utf-8")
        storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY | cv2.FILE_STORAGE_FORMAT_YAML)
    except (cv2.error, SystemError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a YAML file of OpenCV: {str(error).splitlines()[0]}") from None
    try:
        rotation = _matrix(storage, "R", (9, 3), path)
        if rotation.size == 9:
            rotation = np.asarray(cv2.Rodrigues(rotation.reshape(3, 3))[0], dtype=np.float64).ravel()
        K = _matrix(storage, "camera_matrix", (9,), path).reshape(3, 3).tolist()
        rows = [(float(a), float(b), float(c)) for a, b, c in K]
        distortion = _matrix(storage, "distortion_coefficients", (0, 4, 5), path)
        tx, ty, tz = _matrix(storage, "T", (3,), path).tolist()
        rx, ry, rz = rotation.tolist()
        table = CameraTable(
            size=(_number(storage, "image_width", path), _number(storage, "image_height", path)),
            matrix=(rows[0], rows[1], rows[2]),
            distortions=tuple(distortion.tolist()),
            rotation=(rx, ry, rz),
            translation=(tx, ty, tz),
        )
    except (cv2.error, ValueError) as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    finally:
        storage.release()
    return calibration_of(table)


def _matrix(storage: cv2.FileStorage, name: str, sizes: tuple[int, ...], path: Path) -> np.ndarray:
    node = storage.getNode(name)
    found = None if node.empty() else node.mat()
    if found is None or found.size not in sizes:
        got = "none" if found is None else f"{found.size} numbers"
        raise ValueError(f"{path}: {name}: expected a matrix of {' or '.join(map(str, sizes))} numbers, got {got}")
    return np.asarray(found, dtype=np.float64).ravel()


def _number(storage: cv2.FileStorage, name: str, path: Path) -> float:
    node = storage.getNode(name)
    if not (node.isInt() or node.isReal()):
        raise ValueError(f"{path}: {name}: expected a number")
    return float(node.real())
