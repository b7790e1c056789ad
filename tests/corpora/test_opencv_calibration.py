from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from moving_square import write_video

from mas_ray.corpora.folder import sources
from mas_ray.corpora.layout import RejectedSource
from mas_ray.corpora.opencv_calibration import read_opencv_calibration
from mas_ray.corpora.take import Take

K = np.array([[500.0, 0, 318.5], [0, 505.0, 241.25], [0, 0, 1]])
DISTORTION = np.array([[-0.2, 0.1, 0.001, -0.002, 0.03]])
RVEC = np.array([0.3, -1.2, 0.7])
T_M = np.array([[0.1], [1.5], [4.25]])


def _write(path: Path, **changes: object) -> Path:
    fields = {
        "image_width": 640,
        "image_height": 480,
        "camera_matrix": K,
        "distortion_coefficients": DISTORTION,
        "R": cv2.Rodrigues(RVEC)[0],
        "T": T_M,
    } | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, value in fields.items():
        if value is not None:
            storage.write(name, value)
    storage.release()
    return path


@pytest.mark.parametrize("rotation", [cv2.Rodrigues(RVEC)[0], RVEC.reshape(3, 1)])
def test_what_opencv_wrote_is_read(tmp_path, rotation):
    camera = read_opencv_calibration(_write(tmp_path / "cam01.yml", R=rotation))
    assert (camera.width_px, camera.height_px) == (640, 480)
    np.testing.assert_allclose(camera.K, K)
    np.testing.assert_allclose(camera.distortion, DISTORTION.ravel())
    np.testing.assert_allclose(camera.R, cv2.Rodrigues(RVEC)[0], atol=1e-9)
    np.testing.assert_allclose(camera.t_mm, 1000 * T_M.ravel())


def test_points_are_projected_as_opencv_does(tmp_path):
    camera = read_opencv_calibration(_write(tmp_path / "cam01.yaml"))
    points_m = np.array([[0.1, -0.2, 0.4], [0.5, 0.3, -0.6]])
    expected, _ = cv2.projectPoints(points_m, RVEC, T_M, K, DISTORTION)
    rotation = cv2.Rodrigues(camera.R)[0]
    found, _ = cv2.projectPoints(1000 * points_m, rotation, camera.t_mm, camera.K, camera.distortion)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"R": None}, r"cam\.yml: R: expected a matrix of 9 or 3 numbers, got none"),
        ({"camera_matrix": np.eye(2)}, r"cam\.yml: camera_matrix: expected a matrix of 9 numbers, got 4 numbers"),
        ({"image_width": "wide"}, r"cam\.yml: image_width: expected a number"),
        ({"T": 1000 * T_M}, r"cam\.yml: translation: expected metres"),
        ({"distortion_coefficients": np.zeros((1, 8))}, r"distortion_coefficients: expected a matrix of 0 or 4 or 5"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        read_opencv_calibration(_write(tmp_path / "cam.yml", **changes))


@pytest.mark.parametrize("text", ["", "K: [1, 2", "%YAML:1.0\n---\nR: !!opencv-matrix\n   rows: 3"])
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "cam.yml").write_text(text)
    with pytest.raises(ValueError, match=r"cam\.yml: "):
        read_opencv_calibration(tmp_path / "cam.yml")


def _take(root: Path, cameras: tuple[str, ...]) -> Path:
    for camera in ("cam01", "cam02"):
        write_video(root / "dance" / "videos" / f"{camera}.mp4", [np.zeros((32, 32, 3), np.uint8)])
    for camera in cameras:
        _write(root / "dance" / "calibration" / f"{camera}.yml")
    return root


def test_a_take_may_have_a_file_of_each_camera(tmp_path):
    (take,) = sources(_take(tmp_path, ("cam01", "cam02")))
    assert isinstance(take, Take)
    assert [clip.calibration is not None for clip in take.clips] == [True, True]


def test_a_missing_or_second_calibration_is_a_reject(tmp_path):
    (source,) = sources(_take(tmp_path / "a", ("cam01",)))
    assert isinstance(source, RejectedSource)
    assert "camera 'cam02' is not in dance/calibration; it has cam01" in source.detail
    root = _take(tmp_path / "b", ("cam01", "cam02"))
    (root / "dance" / "calibration" / "all.json").write_text("{}")
    (source,) = sources(root)
    assert isinstance(source, RejectedSource)
    assert source.reason == "bad_layout"
