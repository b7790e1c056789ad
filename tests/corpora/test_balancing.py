"""Each repair of the recording is held against measurements on the real one (``balancing_evidence.json``)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mas_ray import assets
from mas_ray.annotations import read_reference
from mas_ray.corpora import balancing, folder
from mas_ray.corpora.calibration_files import read_calibrations
from mas_ray.corpora.take import Calibration
from mas_ray.corpora.trc import Trc
from mas_ray.skeleton import H36M_18

EVIDENCE: dict[str, Any] = json.loads(Path(__file__).with_name("balancing_evidence.json").read_text(encoding="utf-8"))
DISTORTIONS = {name: np.array(values) for name, values in EVIDENCE["qca_distortion"].items()}
WORLD_FROM_MARKER = (2, 0, 1)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Calibration]:
    path = tmp_path_factory.mktemp("shipped") / "cameras.json"
    path.write_text(json.dumps({"cameras": EVIDENCE["calib_toml"]}))
    return read_calibrations(path)


@pytest.fixture(scope="module")
def repaired(shipped: dict[str, Calibration]) -> dict[str, Calibration]:
    return balancing.repaired_calibrations(shipped, DISTORTIONS)


def _project(points_world_mm: np.ndarray, calibration: Calibration) -> np.ndarray:
    points = points_world_mm.reshape(-1, 1, 3)
    rotation = cv2.Rodrigues(calibration.R)[0]
    pixels = cv2.projectPoints(points, rotation, calibration.t_mm, calibration.K, calibration.distortion)[0]
    return pixels.reshape(*points_world_mm.shape[:-1], 2)


def _openpose_px(camera: str) -> np.ndarray:
    rows = EVIDENCE["detections"]["openpose_px"][camera]
    return np.array([[point or (np.nan, np.nan) for point in row] for row in rows], dtype=np.float64)


def _median_error_px(calibration: Calibration, camera: str, axes: tuple[int, ...] = WORLD_FROM_MARKER) -> float:
    """Distance of the projected reference from OpenPose's detections in the ORIGINAL (1088 px wide) pictures."""
    points_mm = np.array(EVIDENCE["detections"]["trc_m"])[..., axes] * 1000.0
    distances = np.linalg.norm(_project(points_mm, calibration) - _openpose_px(camera), axis=-1)
    return float(np.nanmedian(distances))


# --- names -----------------------------------------------------------------------------------------------------------


def test_only_the_camera_of_the_same_number_sees_the_reference_where_openpose_does(shipped) -> None:
    for camera in balancing.CAMERAS:
        errors = {name: _median_error_px(calibration, camera) for name, calibration in shipped.items()}
        own = errors.pop(camera.replace("cam", "cam_"))
        assert own < 25
        assert min(errors.values()) > 60


# --- picture size ----------------------------------------------------------------------------------------------------


def _scene_errors_px(camera: str, video_from_picture: np.ndarray) -> np.ndarray:
    points = np.array(EVIDENCE["scene_points_px"][camera])
    mapped = points[:, :2] @ video_from_picture[:2, :2].T + video_from_picture[:2, 2]
    return np.linalg.norm(mapped - points[:, 2:], axis=-1)


def _crop(left_px: float) -> np.ndarray:
    return np.array([[1.0, 0.0, -left_px], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("camera", ["cam01", "cam02"])
def test_shrinking_explains_the_narrow_videos_and_cropping_does_not(camera, shipped, repaired) -> None:
    before, after = shipped[camera.replace("cam", "cam_")], repaired[camera]
    assert (after.width_px, after.height_px) == (1080, 1920)
    shrink = _scene_errors_px(camera, after.K @ np.linalg.inv(before.K))
    assert np.median(shrink) < 0.6
    for left_px in (0, 2, 4, 6, 8):
        assert np.median(_scene_errors_px(camera, _crop(left_px))) > 2.5


@pytest.mark.parametrize("camera", ["cam03", "cam04"])
def test_the_wide_videos_show_the_calibrated_picture_itself(camera, shipped, repaired) -> None:
    assert np.median(_scene_errors_px(camera, np.eye(3))) < 0.3
    np.testing.assert_array_equal(repaired[camera].K, shipped[camera.replace("cam", "cam_")].K)


# --- distortion ------------------------------------------------------------------------------------------------------


def _board_rms_px(calibration: Calibration, distortion: np.ndarray) -> float:
    """RMS error of the checkerboards with poses, focal lengths and centre refitted and the distortion as given."""
    corners = [np.array(view, dtype=np.float32) for view in EVIDENCE["board_corners_px"]]
    board = np.zeros((28, 3), dtype=np.float32)
    board[:, :2] = 60.0 * np.mgrid[0:4, 0:7].T.reshape(-1, 2)
    flags = cv2.CALIB_USE_INTRINSIC_GUESS | cv2.CALIB_FIX_K1 | cv2.CALIB_FIX_K2 | cv2.CALIB_FIX_K3
    flags |= cv2.CALIB_FIX_TANGENT_DIST
    coefficients = np.append(distortion, 0.0)
    size = (calibration.width_px, calibration.height_px)
    return cv2.calibrateCamera([board] * 3, corners, size, calibration.K.copy(), coefficients, flags=flags)[0]


def test_checkerboards_want_the_distortion_of_qualisys(shipped, repaired) -> None:
    before = shipped["cam_02"]
    without = _board_rms_px(before, np.zeros(4))
    as_shipped = _board_rms_px(before, before.distortion)
    as_repaired = _board_rms_px(before, repaired["cam02"].distortion)
    assert as_repaired < 0.5 * as_shipped
    assert as_shipped == pytest.approx(without, rel=0.05)


def test_the_toml_divides_the_coefficients_by_64(shipped, repaired) -> None:
    for camera in balancing.CAMERAS:
        before = shipped[camera.replace("cam", "cam_")].distortion
        np.testing.assert_allclose(repaired[camera].distortion, 64.0 * before, rtol=1e-6)


def test_on_the_person_the_distortion_is_below_the_references_own_error(shipped) -> None:
    for camera in balancing.CAMERAS:
        before = shipped[camera.replace("cam", "cam_")]
        after = dataclasses.replace(before, distortion=DISTORTIONS[camera])
        assert abs(_median_error_px(after, camera) - _median_error_px(before, camera)) < 1.0


# --- axes and time ---------------------------------------------------------------------------------------------------


def test_the_markers_are_y_up_and_the_world_is_z_up(shipped) -> None:
    for camera in balancing.CAMERAS:
        calibration = shipped[camera.replace("cam", "cam_")]
        right = _median_error_px(calibration, camera)
        wrong = [_median_error_px(calibration, camera, axes) for axes in ((0, 1, 2), (1, 2, 0))]
        assert right < 25
        assert min(wrong) > 200


def _motion_error_px(calibration: Calibration, camera: str, frame_of_first_row: int) -> float:
    """Mean difference of the left ankle's motion in the video from its motion in the TRC file."""
    motion = EVIDENCE["motion"]
    first, last = motion["frames"]
    observed = np.array([step or (np.nan, np.nan) for step in motion["video_motion_px"][camera]], dtype=np.float64)
    points_mm = np.array(motion["left_ankle_trc_m"])[:, WORLD_FROM_MARKER] * 1000.0
    start = first - frame_of_first_row - motion["trc_rows"][0]
    expected = np.diff(_project(points_mm, calibration), axis=0)[start : start + last - first]
    return float(np.nanmean(np.clip(np.linalg.norm(observed - expected, axis=-1), 0, 6)))


def test_the_first_row_belongs_to_frame_one_not_zero(repaired) -> None:
    for camera in ("cam01", "cam03", "cam04"):
        errors = [_motion_error_px(repaired[camera], camera, first) for first in (-1, 0, 1)]
        assert errors[2] < errors[1] - 0.2
        assert errors[1] < errors[0]


# --- joints ----------------------------------------------------------------------------------------------------------


def _trc(num_rows: int) -> Trc:
    names = ["Neck", "Head", "Nose"]
    names += [s + p for s in "RL" for p in ("Hip", "Knee", "Ankle", "Shoulder", "Elbow", "Wrist", "Heel")]
    positions_m = np.random.default_rng(0).normal(size=(num_rows, len(names), 3))
    return Trc(markers=tuple(names), frame_numbers=np.arange(1, num_rows + 1), positions_m=positions_m)


def test_joints_come_from_the_markers_of_their_name_and_their_middles() -> None:
    trc = _trc(3)
    joints = balancing.joints_from_markers(trc)
    marker = {name: trc.positions_m[:, i][:, WORLD_FROM_MARKER] * 1000.0 for i, name in enumerate(trc.markers)}
    joint = {name: joints[:, i] for i, name in enumerate(H36M_18.joints)}
    np.testing.assert_array_equal(joint["left_wrist"], marker["LWrist"])
    np.testing.assert_array_equal(joint["right_ankle"], marker["RAnkle"])
    np.testing.assert_array_equal(joint["nose"], marker["Nose"])
    np.testing.assert_allclose(joint["pelvis"], (marker["LHip"] + marker["RHip"]) / 2)
    np.testing.assert_allclose(joint["thorax"], (marker["LShoulder"] + marker["RShoulder"]) / 2)
    np.testing.assert_allclose(joint["spine"], (joint["pelvis"] + joint["thorax"]) / 2)


def test_rows_without_a_frame_and_joints_without_a_position_are_marked() -> None:
    trc = _trc(100)
    trc.positions_m[4, trc.markers.index("LKnee"), 1] = np.nan
    reference = balancing.reference_joints(trc)
    assert reference.instants.tolist() == list(range(1, 100))
    assert np.argwhere(~reference.valid).tolist() == [[4, H36M_18.index("left_knee")]]


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_qualisys_calibration_is_named(tmp_path: Path) -> None:
    for text in ("no xml", "<calibration><cameras><camera serial='a'/></cameras></calibration>"):
        (tmp_path / "Calib.qca.txt").write_text(text)
        with pytest.raises(ValueError, match=r"Calib\.qca\.txt: expected a Qualisys calibration"):
            balancing.read_qca_distortions(tmp_path / "Calib.qca.txt")


@pytest.mark.network
@pytest.mark.slow
def test_the_written_recording_is_a_take_of_the_folder_corpus(tmp_path: Path, shipped) -> None:
    written = balancing.write_balancing(tmp_path / "corpus", tmp_path / "cache")
    (take,) = folder.takes(tmp_path / "corpus")
    assert (take.take_id, take.subject) == ("balancing", "balancing")
    assert [clip.view for clip in take.clips] == list(balancing.CAMERAS)
    fetched = assets.folder(assets.BALANCING_VIDEOS, tmp_path / "cache")
    for clip in take.clips:
        assert Path(clip.video).read_bytes() == (fetched / f"{clip.view}.mp4").read_bytes()
        assert clip.calibration is not None
        expected = balancing.repaired_calibrations(shipped, DISTORTIONS)[clip.view]
        np.testing.assert_allclose(clip.calibration.K, expected.K, atol=1e-9)
        np.testing.assert_allclose(clip.calibration.distortion, expected.distortion, atol=1e-12)
    assert take.reference is not None
    reference = read_reference(Path(take.reference))
    assert len(reference.instants) == 99
    assert reference.valid.all()
    assert "OpenPose" in reference.source
    assert {"LICENSE", "NOTICE"} <= {path.name for path in written.iterdir()}
