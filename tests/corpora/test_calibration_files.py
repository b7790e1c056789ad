from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mas_ray.corpora.calibration_files import read_calibrations, write_calibrations
from mas_ray.corpora.take import Calibration

TOML = """
[front]
name = "cam01"
size = [ 1088.0, 1920.0]
matrix = [ [ 1681.0, 0.0, 532.5], [ 0.0, 1680.0, 948.25], [ 0, 0, 1]]
distortions = [ -0.02, 0.01, 0.001, -0.002]
rotation = [ 1.5, 1.0, -0.5]
translation = [ 0.25, 1.0, 4.0]
fisheye = false

[cam00]
size = [ 640, 480]
matrix = [ [ 500.0, 0.0, 320.0], [ 0.0, 500.0, 240.0], [ 0.0, 0.0, 1.0]]
distortions = [ 0.1, -0.01, 0.0, 0.0, 0.02]
rotation = [ 0.0, 0.0, 0.0]
translation = [ 0.0, 0.0, 3.0]

[metadata]
adjusted = false
error = 0.0
"""
TABLE = {
    "size": [640, 480],
    "matrix": [[500, 0, 320], [0, 500, 240], [0, 0, 1]],
    "distortions": [],
    "rotation": [0, 0, 0],
    "translation": [0, 0, 3],
}


def _projected(calibration: Calibration, points_mm: np.ndarray) -> np.ndarray:
    """The pinhole and lens model written out, from ``Calibration``'s documentation."""
    camera = points_mm @ calibration.R.T + calibration.t_mm
    x, y = (camera[:, :2] / camera[:, 2:]).T
    k1, k2, p1, p2, k3 = [*calibration.distortion, 0.0, 0.0, 0.0, 0.0, 0.0][:5]
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    distorted = np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ],
        axis=-1,
    )
    return distorted * np.diag(calibration.K)[:2] + calibration.K[:2, 2]


def test_toml_cameras_project_as_opencv_does_with_the_files_numbers(tmp_path: Path):
    path = tmp_path / "calib.toml"
    path.write_text(TOML)
    cameras = read_calibrations(path)
    assert list(cameras) == ["cam00", "cam01"]
    camera = cameras["cam01"]
    assert (camera.width_px, camera.height_px) == (1088, 1920)
    points_m = np.random.default_rng(0).uniform(-0.5, 0.5, size=(20, 3))
    expected = cv2.projectPoints(
        points_m,
        np.array([1.5, 1.0, -0.5]),
        np.array([0.25, 1.0, 4.0]),
        np.array([[1681.0, 0, 532.5], [0, 1680.0, 948.25], [0, 0, 1]]),
        np.array([-0.02, 0.01, 0.001, -0.002]),
    )[0][:, 0]
    np.testing.assert_allclose(_projected(camera, points_m * 1000), expected, atol=1e-6)


def test_json_gives_back_what_was_written(tmp_path: Path):
    toml, path = tmp_path / "calib.toml", tmp_path / "deep" / "cameras.json"
    toml.write_text(TOML)
    cameras = read_calibrations(toml)
    write_calibrations(path, cameras)
    assert [file.name for file in path.parent.iterdir()] == ["cameras.json"]
    again = read_calibrations(path)
    assert list(again) == list(cameras)
    points_mm = np.random.default_rng(0).uniform(-500, 500, size=(20, 3))
    for name, camera in cameras.items():
        np.testing.assert_array_equal(again[name].K, camera.K)
        np.testing.assert_allclose(_projected(again[name], points_mm), _projected(camera, points_mm), atol=1e-9)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"fisheye": True}, "fisheye"),
        ({"size": [640.5, 480]}, "size"),
        ({"matrix": [[500, 1, 320], [0, 500, 240], [0, 0, 1]]}, "matrix"),
        ({"matrix": [[500, 0, 320], [0, 500, 240]]}, "matrix"),
        ({"distortions": [0.1, 0.2]}, "distortions"),
        ({"translation": [0, 0, 3000]}, "translation.*metres"),
        ({"rotation": [0, 0, float("nan")]}, "finite"),
        ({"rotation": "none"}, "rotation"),
        ({"focal": 3}, "unknown key 'focal'"),
    ],
)
def test_a_bad_camera_is_an_error_that_names_file_camera_and_field(tmp_path: Path, change: dict, field: str):
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps({"cameras": {"cam07": {**TABLE, **change}}}))
    with pytest.raises(ValueError, match=rf"cameras\.json: cam07.*{field}") as error:
        read_calibrations(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "[metadata]\nx = 1\n", "no cameras"),
        ("a.toml", "not toml", "not valid TOML"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", '{"cam01": {}}', "cameras: expected"),
        ("a.json", '{"cameras": {"cam01": {}}}', "missing key 'size'"),
        ("a.json", json.dumps({"cameras": {"a": {**TABLE, "name": "b"}, "b": TABLE}}), "another camera is called 'b'"),
    ],
)
def test_a_bad_file_is_an_error_that_names_it(tmp_path: Path, name: str, text: str, message: str):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"{name}.*{message}"):
        read_calibrations(path)
