import numpy as np
import pytest

from mas_ray.mpi_inf_3dhp_cameras import read_studio_cameras, read_test_camera

STUDIO = """\
Skeletool Camera Calibration File V1.0
name          0
  sensor      10 10
  size        2048 2048
  animated    0
  intrinsic   1500 0 1024.5 0 0 1510 1050 0 0 0 1 0 0 0 0 1 
  extrinsic   0 0 1 -500 0 -1 0 1400 1 0 0 3900 0 0 0 1 
  radial      0
name          1
  sensor      10 10
  size        2048 2048
  animated    0
  intrinsic   1500 0 1024.5 0 0 1510 1050 0 0 0 1 0 0 0 0 1 
  extrinsic   0 1 0 0 0 0 1 0 1 0 0 4000 0 0 0 1 
  radial      0
"""
TEST = "sensorSize 10 5.625\nfocalLength 8.75  # millimetres\ncenterOffset -0.1 0.1\n"


def test_rows_of_a_studio_camera(tmp_path):
    (tmp_path / "camera.calibration").write_text(STUDIO)
    cameras = read_studio_cameras(tmp_path / "camera.calibration")
    assert sorted(cameras) == [0, 1]
    camera = cameras[0]
    assert (camera.width_px, camera.height_px) == (2048, 2048)
    np.testing.assert_array_equal(camera.K, [[1500, 0, 1024.5], [0, 1510, 1050], [0, 0, 1]])
    # Two metres above the floor the world's y still points up, and the camera's down.
    world_mm = np.array([[100.0, 2000.0, 30.0]])
    camera_mm = np.array([[30.0 - 500, -2000 + 1400, 100 + 3900]])
    np.testing.assert_allclose(camera.world_from(camera_mm), world_mm)
    np.testing.assert_allclose(cameras[1].world_from(np.array([[1.0, 2.0, 4003.0]])), [[3.0, 1.0, 2.0]])
    np.testing.assert_allclose(camera.project(camera_mm), [[1024.5 - 1500 * 470 / 4000, 1050 - 1510 * 600 / 4000]])


def test_a_test_camera_has_a_lens_and_a_sensor(tmp_path):
    (tmp_path / "ts.calib").write_text(TEST)
    camera = read_test_camera(tmp_path / "ts.calib", width_px=1920, height_px=1080)
    np.testing.assert_allclose(camera.K, [[1680, 0, 940.8], [0, 1680, 559.2], [0, 0, 1]])
    np.testing.assert_array_equal(camera.R, np.eye(3))
    np.testing.assert_array_equal(camera.t_mm, np.zeros(3))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Skeletool Camera", "Another", r"expected a file that begins with 'Skeletool Camera Calibration File'"),
        ("radial      0", "radial      0.1", r"camera 0: radial: expected no distortion \(0\), got 0.1"),
        ("1500 0 1024.5", "1500 2 1024.5", r"camera 0: intrinsic: expected fx 0 cx 0"),
        ("1500 0 1024.5", "1500 1024.5", r"camera 0: intrinsic: expected 16 numbers, got '1500 1024.5 0 0"),
        ("0 -1 0 1400", "0 1 0 1400", r"camera 0: extrinsic: expected a rotation"),
        ("0 -1 0 1400", "0 -1.1 0 1400", r"camera 0: extrinsic: expected a rotation"),
        ("3900 0 0 0 1", "3900 0 0 0 2", r"camera 0: extrinsic: expected a last row of 0 0 0 1"),
        ("2048 2048", "wide", r"camera 0: size: expected 2 numbers, got 'wide'"),
        ("  size        2048 2048\n", "", r"camera 0: size: missing, expected 2 numbers"),
        ("name          0", "name", r"expected a number after each name"),
    ],
)
def test_what_is_wrong_with_a_studio_camera(tmp_path, old, new, message):
    path = tmp_path / "camera.calibration"
    path.write_text(STUDIO.replace(old, new, 1))
    with pytest.raises(ValueError, match=f"^{path}: {message}"):
        read_studio_cameras(path)


def test_what_is_wrong_with_a_test_camera(tmp_path):
    path = tmp_path / "ts.calib"
    path.write_text(TEST.replace("focalLength", "length"))
    with pytest.raises(ValueError, match=f"^{path}: focalLength: missing, expected 1 numbers$"):
        read_test_camera(path, width_px=1920, height_px=1080)
    path.write_text(TEST.replace("8.75", "0"))
    with pytest.raises(ValueError, match="expected millimetres above 0"):
        read_test_camera(path, width_px=1920, height_px=1080)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="expected a text file"):
        read_test_camera(path, width_px=1920, height_px=1080)
