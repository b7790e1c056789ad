"""``annotations.mpi_inf_3dhp``, by the files of the corpus that it is of."""

import h5py
import numpy as np
import pytest
from mpi_inf_3dhp_files import (
    CHEST_CAMERAS,
    JOINTS,
    SIZE_PX,
    calibration_text,
    viewpoints,
    walker_mm,
    write_annot,
    write_test_set,
)
from scipy.io import loadmat, savemat

from mas_ray.annotations import read_reference, write_reference
from mas_ray.annotations.mpi_inf_3dhp import TEST_JOINTS, TRAINING_JOINTS, read
from mas_ray.skeleton import H36M_18


@pytest.fixture
def sequence(tmp_path):
    """Gives what writes a sequence of poses, of subject 4 unless told otherwise."""

    def write(world_mm, *, name="S4/Seq1", views=None, **keywords):
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "camera.calibration").write_text(calibration_text(views or viewpoints()))
        write_annot(folder / "annot.mat", world_mm, **keywords)
        return folder / "annot.mat"

    return write


def walk(num_frames):
    return np.stack([walker_mm(frame % 8) for frame in range(num_frames)])


def test_joints_have_their_names(sequence):
    """Whatever the numbers say, theirs in the file is ours in the world."""
    assert TRAINING_JOINTS == JOINTS
    pose = read(sequence(walk(1))).joints_world_mm[0]
    theirs = {"spine": "spine2", "thorax": "spine4", "nose": "head", "head": "head_top"}
    for joint in H36M_18.joints:
        expected = walker_mm(0)[JOINTS.index(theirs.get(joint, joint))]
        np.testing.assert_allclose(pose[H36M_18.index(joint)], expected, atol=0.02)


def test_a_frame_counts_only_while_the_whole_person_is_in_all_five_pictures(sequence):
    world_mm = walk(4)
    world_mm[2, JOINTS.index("left_toe")] += (0, -3000, 0)  # no joint of ours, and out of every picture
    joints = read(sequence(world_mm))
    assert joints.instants.tolist() == [0, 1, 3]
    np.testing.assert_allclose(joints.joints_world_mm[2, 0], world_mm[3, 4], atol=0.02)


def test_one_picture_is_enough_to_leave(sequence):
    world_mm = walk(3)
    views = viewpoints()
    along = world_mm[1] + 0.0
    while all((((px := views[camera].pixels(along)) >= 0) & (px < SIZE_PX)).all() for camera in CHEST_CAMERAS):
        along[JOINTS.index("right_hand")] += (-50, 0, 0)
    out = sum(not (((px := views[c].pixels(along)) >= 0) & (px < SIZE_PX)).all() for c in CHEST_CAMERAS)
    assert out == 1
    world_mm[1] = along
    assert read(sequence(world_mm)).instants.tolist() == [0, 2]


def test_frames_with_exchanged_sides_are_left_out(sequence):
    num_frames = 5900
    world_mm = walk(num_frames)
    wrong = set(range(3759, 5853))
    joints = read(sequence(world_mm, name="S4/Seq2"))
    assert joints.instants.tolist() == [frame for frame in range(num_frames) if frame not in wrong]
    assert read(sequence(world_mm, name="S4/Seq1")).instants.tolist() == list(range(num_frames))


def test_cells_go_by_their_cameras(sequence, tmp_path):
    """The file names the camera of each cell."""
    path = sequence(walk(2))
    before = read(path)
    content = {key: value for key, value in loadmat(path).items() if not key.startswith("_")}
    order = np.roll(np.arange(14), 3)
    for key in ("annot2", "annot3", "univ_annot3"):
        content[key] = content[key][order]
    savemat(path, {**content, "cameras": order[None]})
    np.testing.assert_allclose(read(path).joints_world_mm, before.joints_world_mm)


def test_another_sequences_cameras_are_found_out(sequence):
    views = viewpoints()
    with pytest.raises(ValueError, match=r"annot3 of camera 2 lies .* px off annot2 and 53.3 mm off that of camera 0"):
        read(sequence(walk(3), views=[views[0], *views[:-1]]))


def test_pixels_that_are_not_the_joints_are_found_out(sequence):
    views = viewpoints()
    other = [type(v)(v.centre_mm, v.target_mm, 1.1 * v.focal_px, v.principal_px) for v in views]
    with pytest.raises(ValueError, match=r"annot3 of camera 0 lies \d+.\d px off annot2 and 0.0 mm off"):
        read(sequence(walk(3), views=other))


def test_files_that_are_something_else(sequence, tmp_path):
    path = sequence(walk(3), frames=[1, 2, 3])
    with pytest.raises(ValueError, match=r"annot.mat: frames: expected one number per row of annot3, from 0 on"):
        read(path)
    path.write_text("not a file of MATLAB's")
    with pytest.raises(ValueError, match=r"annot.mat: expected MATLAB cells annot2 and annot3 of 28 joints per camera"):
        read(path)
    path = sequence(walk(3)[:, :27])
    with pytest.raises(ValueError, match=r"annot.mat: expected MATLAB cells"):
        read(path)
    with pytest.raises(ValueError, match=r"annot.mat: expected MATLAB cells"):
        read(tmp_path / "nowhere" / "annot.mat")


def test_the_test_sets_joints(tmp_path):
    path = write_test_set(tmp_path, num_frames=4) / "TS1" / "annot_data.mat"
    joints = read(path)
    assert joints.instants.tolist() == [0, 2, 3]
    with h5py.File(path) as file:
        annot3 = file["annot3"][2, 0]
    for joint, theirs in (("right_hip", "right_hip"), ("head", "head_top"), ("nose", "head"), ("pelvis", "pelvis")):
        pose = joints.joints_world_mm[1, H36M_18.index(joint)]
        np.testing.assert_allclose(pose, annot3[TEST_JOINTS.index(theirs)])
    # From the front, the walker's left is at the picture's right, and nothing is above the head.
    left, right = (joints.joints_world_mm[:, H36M_18.index(f"{side}_wrist")] for side in ("left", "right"))
    assert (left[:, 0] > right[:, 0]).all()
    assert (np.nanargmin(joints.joints_world_mm[..., 1], axis=1) == H36M_18.index("head")).all()


def test_test_files_that_are_something_else(tmp_path):
    path = write_test_set(tmp_path) / "TS1" / "annot_data.mat"
    with h5py.File(path, "a") as file:
        del file["annot3"]
        file["annot3"] = np.zeros((3, 1, 28, 3))
    with pytest.raises(ValueError, match=r"annot3: expected \(3, 1, 17, 3\) of frames, people, joints and axes"):
        read(path)
    path.write_text("not HDF5")
    with pytest.raises(ValueError, match=r"annot_data.mat: expected MATLAB v7.3 with annot3 and valid_frame"):
        read(path)


def test_both_survive_being_copied(sequence, tmp_path):
    for number, path in enumerate((sequence(walk(2)), write_test_set(tmp_path) / "TS1" / "annot_data.mat")):
        joints = read(path)
        write_reference(tmp_path / f"{number}.parquet", joints)
        copied = read_reference(tmp_path / f"{number}.parquet")
        np.testing.assert_array_equal(copied.joints_world_mm, joints.joints_world_mm)
        np.testing.assert_array_equal(copied.valid, joints.valid)
        assert copied.source == joints.source
