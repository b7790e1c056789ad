"""TRC and BVH are read back by other people's libraries, and give the poses that were written."""

import json
from pathlib import Path

import bvhio
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from trc import TRCData

from mas_ray.config.predict import OneEuro
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import record
from mas_ray.corpora.trc import read_trc
from mas_ray.reporting.bvh import bvh
from mas_ray.reporting.coco import coco
from mas_ray.reporting.pose_track import PoseTrack, pose_track, y_up
from mas_ray.reporting.smoothing import smoothed
from mas_ray.reporting.trc import marker_name, trc
from mas_ray.skeleton import H36M_18

NUM_INSTANTS = 12


@pytest.fixture(scope="module")
def person() -> np.ndarray:
    """A walking person, rigid bones but for the trunk, Z up."""
    config = SyntheticConfig(num_subjects=1, takes_per_subject=1, instants_per_take=NUM_INSTANTS, fps=8)
    return record(config, 0, 0).body.joints_world_mm


def row(n: int, joints, *, views=()) -> dict:
    return {
        "take_id": "walk",
        "instant": 2 * n,
        "timestamp_s": n / 8,
        "joints_world_mm": None if joints is None else joints.tolist(),
        "views": list(views),
    }


def track_of(joints: np.ndarray) -> PoseTrack:
    track = pose_track([row(n, pose) for n, pose in enumerate(joints)], world_up="z", num_joints=18)
    assert track is not None
    return track


@pytest.mark.parametrize(
    ("up", "expected"),
    [("z", [2, 3, 1]), ("y", [1, 2, 3]), ("x", [3, 1, 2]), ("-y", [1, -2, -3]), ("-z", [2, -3, -1])],
)
def test_up_becomes_y_by_a_rotation(up, expected):
    assert y_up(np.array([1.0, 2.0, 3.0]), up).tolist() == expected
    assert np.linalg.det(y_up(np.eye(3), up)) == pytest.approx(1.0)


def test_trc_is_read_by_others(person, tmp_path):
    joints = person.copy()
    joints[3, 5] = np.nan
    path = tmp_path / "walk.trc"
    path.write_text(trc(track_of(joints), H36M_18, path.name))
    read = TRCData()
    read.load(str(path))
    assert (read["NumFrames"], read["NumMarkers"], read["Units"], read["DataRate"]) == (NUM_INSTANTS, 18, "m", 8.0)
    assert read["Frame#"] == list(range(0, 2 * NUM_INSTANTS, 2))
    assert read["Time"] == pytest.approx([n / 8 for n in range(NUM_INSTANTS)])
    for number, joint in enumerate(H36M_18.joints):
        expected = joints[:, number][:, [1, 2, 0]] / 1000
        np.testing.assert_allclose(np.array(read[marker_name(joint)]), expected, atol=1e-6)
    assert np.isnan(np.array(read["LKnee"])[3]).all()


def test_trc_has_the_markers_and_axes_of_pose2sim(person, tmp_path):
    """The sample recording's reference is such a file, and is read by the same function."""
    path = tmp_path / "walk.trc"
    path.write_text(trc(track_of(person), H36M_18, path.name))
    read = read_trc(path)
    assert {"Hip", "RHip", "LKnee", "RAnkle", "Neck", "Nose", "Head", "LShoulder", "RWrist"} <= set(read.markers)
    back = read.positions_m[..., (2, 0, 1)] * 1000
    np.testing.assert_allclose(back, person, atol=1e-3)


def read_back_cm(path: Path) -> dict[str, np.ndarray]:
    """Where bvhio has the joints, in every frame."""
    root = bvhio.readAsHierarchy(str(path))
    positions: dict[str, list] = {}
    for frame in range(NUM_INSTANTS if path.stem == "walk" else 4):
        root.loadPose(frame)
        for joint, _, _ in root.layout():
            positions.setdefault(joint.Name, []).append(list(joint.PositionWorld))
    return {name: np.array(of_joint) for name, of_joint in positions.items()}


def rigid(seed: int) -> np.ndarray:
    """Poses of a rigid body, any which way: bones of fixed lengths, with hips and spine, and shoulders and neck, in
    planes of their own."""
    rng = np.random.default_rng(seed)
    joints = np.zeros((NUM_INSTANTS, 18, 3))
    turned = {joint: Rotation.random(NUM_INSTANTS, random_state=int(rng.integers(1 << 31))) for joint in range(18)}
    toward = dict.fromkeys(("knee", "ankle"), (0, -1, 0)) | dict.fromkeys(("spine", "thorax", "neck"), (0, 1, 0))
    toward |= {"pelvis": (0, 0, 0), "nose": (0, 0.8, 0.6), "head": (0, 0.8, -0.6)}
    offset = np.zeros((18, 3))
    for joint, name in enumerate(H36M_18.joints):
        side, _, part = name.rpartition("_")
        offset[joint] = toward.get(part) or ((1 if side == "left" else -1), 0, 0)
    offset *= rng.uniform(80.0, 400.0, (18, 1))
    done = {0}
    joints[:, 0] = rng.uniform(-1000, 1000, (NUM_INSTANTS, 3))
    while len(done) < 18:
        for joint, parent in enumerate(H36M_18.parents):
            if joint not in done and parent in done:
                joints[:, joint] = joints[:, parent] + turned[parent].apply(offset[joint])
                done.add(joint)
    return joints


def test_bvh_of_a_rigid_body_is_the_body(tmp_path):
    """Joints as bvhio finds them, in centimetres, Y up."""
    joints = rigid(3)
    track = PoseTrack(instants=np.arange(NUM_INSTANTS), times_s=np.arange(NUM_INSTANTS) / 8, joints_mm=joints)
    path = tmp_path / "walk.bvh"
    text = bvh(track, H36M_18)
    assert text is not None
    path.write_text(text)
    header = bvhio.readAsBvh(str(path))
    assert (header.FrameCount, header.FrameTime) == (NUM_INSTANTS, pytest.approx(1 / 8))
    found = read_back_cm(path)
    assert len(set(found) & set(H36M_18.joints)) == 13  # the others end a limb
    for joint in set(found) & set(H36M_18.joints):
        np.testing.assert_allclose(found[joint], joints[:, H36M_18.index(joint)] / 10, atol=2e-3, err_msg=joint)


def test_bvh_of_a_person_is_near(person, tmp_path):
    """A spine that bends, and hips that stay in their plane: within a centimetre or two."""
    path = tmp_path / "walk.bvh"
    path.write_text(bvh(track_of(person), H36M_18) or "")
    found = read_back_cm(path)
    for joint in ("pelvis", "left_knee", "right_elbow", "nose"):
        expected_cm = y_up(person[:, H36M_18.index(joint)], "z") / 10
        assert np.linalg.norm(found[joint] - expected_cm, axis=-1).max() < 4.0, joint


def test_bvh_bridges_gaps_and_leaves_out_what_is_before_and_after(tmp_path):
    joints = np.repeat(rigid(4)[:1], 6, axis=0)
    joints += np.arange(6)[:, None, None] * 10.0
    joints[[0, 2, 5]] = np.nan
    track = PoseTrack(instants=np.arange(6), times_s=np.arange(6) / 10, joints_mm=joints)
    path = tmp_path / "gaps.bvh"
    path.write_text(bvh(track, H36M_18) or "")
    expected_cm = joints[[1, 1, 3, 4]][:, 0] / 10 + [[0], [1], [0], [0]]
    np.testing.assert_allclose(read_back_cm(path)["pelvis"], expected_cm, atol=1e-3)
    nowhere = PoseTrack(instants=np.arange(6), times_s=np.arange(6) / 10, joints_mm=np.full((6, 18, 3), np.nan))
    assert bvh(nowhere, H36M_18) is None


def test_a_single_view_is_a_track_about_its_root():
    camera = np.arange(54.0).reshape(18, 3)
    view = {"name": "left", "joints_camera_mm": camera.tolist()}
    unknown = {"name": "left", "joints_camera_mm": None}
    track = pose_track([row(0, None, views=[view]), row(1, None, views=[unknown])], world_up="z", num_joints=18)
    assert track is not None
    np.testing.assert_array_equal(track.joints_mm[0], camera * [1, -1, -1])
    assert np.isnan(track.joints_mm[1]).all()
    assert pose_track([row(0, None, views=[unknown])], world_up="z", num_joints=18) is None


def test_coco_is_consistent():
    keypoints = [[float(n), 2.0 * n] for n in range(18)]
    keypoints[4] = [float("nan")] * 2
    views = [{"name": name, "keypoints_px": keypoints, "confidence": [0.5] * 18} for name in ("left", "right")]
    found = json.loads(json.dumps(coco([row(0, None, views=views), row(1, None, views=views[:1])], H36M_18)))
    assert [image["file_name"] for image in found["images"]] == [
        "walk/left/000000",
        "walk/right/000000",
        "walk/left/000002",
    ]
    (category,) = found["categories"]
    assert len(category["keypoints"]) == 18
    assert len(category["skeleton"]) == 17
    first = found["annotations"][0]
    assert (first["image_id"], first["num_keypoints"], first["score"]) == (1, 17, 0.5)
    assert first["keypoints"][12:15] == [0, 0, 0]
    assert first["keypoints"][3:6] == [1.0, 2.0, 2]
    assert first["bbox"] == [0.0, 0.0, 17.0, 34.0]


def test_smoothing_calms_what_rests_and_follows_what_moves():
    rng = np.random.default_rng(0)
    rest = np.zeros((60, 18, 3)) + rng.normal(0.0, 5.0, (60, 18, 3))
    moving = np.arange(60)[:, None, None] * 100.0 + np.zeros((60, 18, 3))  # 3 m/s at 30 Hz
    for joints, check in ((rest, lambda x: x[10:].std() < 2.0), (moving, lambda x: (moving - x)[10:].max() < 50.0)):
        rows = [row(n, pose) | {"timestamp_s": n / 30} for n, pose in enumerate(joints)]
        assert check(np.array([each["joints_world_mm"] for each in smoothed(rows, OneEuro())]))


def test_smoothing_invents_nothing():
    pose = np.zeros((18, 3))
    pose[2] = np.nan
    view = {"name": "left", "keypoints_px": pose[:, :2].tolist(), "joints_camera_mm": None, "confidence": [1.0] * 18}
    rows = [row(0, pose, views=[view]), row(1, None), row(40, pose + 7.0)]
    found = list(smoothed(rows, OneEuro()))
    assert found[1]["joints_world_mm"] is None
    assert found[0]["views"][0]["joints_camera_mm"] is None
    assert np.isnan(found[0]["joints_world_mm"][2]).all()
    assert np.isnan(found[0]["views"][0]["keypoints_px"][2]).all()
    assert found[2]["joints_world_mm"][0] == [7.0] * 3  # a long gap begins anew
    assert torch.tensor(found[0]["views"][0]["confidence"]).eq(1.0).all()
