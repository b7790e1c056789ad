from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from human36m_files import CAMERAS, NUM_FRAMES, project, write_pose_file, write_release
from stick_people import MARKED, found_px, pose_mm

from mas_ray.annotations import human36m as annotations
from mas_ray.config.ingest import DecodeLimits
from mas_ray.corpora.human36m import sources
from mas_ray.corpora.take import Calibration
from mas_ray.ingest.decode import open_clip
from mas_ray.skeleton import H36M_18


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp("human36m"))


def _projected(points_mm: np.ndarray, camera: Calibration) -> np.ndarray:
    in_camera = points_mm @ camera.R.T + camera.t_mm
    in_image = in_camera @ camera.K.T
    return in_image[..., :2] / in_image[..., 2:]


def test_takes_are_the_performances_of_the_actions(release):
    takes = {take.take_id: take for take in sources(release)}
    assert list(takes) == ["S01_Directions_1", "S01_Walking_2", "S09_Greeting_2", "S11_Directions_2"]
    walking = takes["S01_Walking_2"]
    assert (walking.subject, walking.action) == ("S1", "Walking")
    assert [clip.view for clip in walking.clips] == list(CAMERAS)
    assert walking.clips[3].video.endswith("S1/Videos/Walking.60457274.mp4")
    assert walking.clips[3].masks is not None
    assert walking.clips[3].masks.endswith("S1/MySegmentsMat/ground_truth_bs/Walking.60457274.mat")
    assert walking.reference is not None
    assert walking.reference.endswith("S1/MyPoseFeatures/D3_Positions/Walking.cdf")


def test_what_is_known_to_be_damaged_is_said(release):
    takes = {take.take_id: take for take in sources(release)}
    assert [clip.view for clip in takes["S11_Directions_2"].clips] == list(CAMERAS[1:])
    assert takes["S09_Greeting_2"].reference_fault == "the reference drifts away from the person"
    assert takes["S01_Walking_2"].reference_fault == ""


def test_reference_joints_lie_where_the_cameras_see_them(release):
    """In the undistorted pictures, by the calibration that was read; the fixture projects as the release does."""
    for take in sources(release):
        reference = annotations.read(release / str(take.reference))
        for clip in take.clips:
            assert clip.calibration is not None
            with open_clip(clip, DecodeLimits()) as source:
                for frame, image in source.frames([0, NUM_FRAMES - 1]):
                    assert image is not None
                    expected = _projected(reference.joints_world_mm[frame], clip.calibration)
                    for joint, rgb in MARKED.items():
                        apart = np.linalg.norm(found_px(image, rgb) - expected[H36M_18.index(joint)])
                        assert apart < 1.0, (take.take_id, clip.view, joint, apart)


def test_the_lens_is_the_releases_own_all_over_the_picture(release):
    take = next(iter(sources(release)))
    for index, clip in enumerate(take.clips):
        camera = clip.calibration
        assert camera is not None
        size = (camera.width_px, camera.height_px)
        x, y = np.meshgrid(np.linspace(-0.5, 0.5, 41), np.linspace(-0.5, 0.5, 41))
        in_camera = 4000.0 * np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=-1)
        expected = project((in_camera - camera.t_mm) @ camera.R, index)
        found = cv2.projectPoints(in_camera, np.zeros(3), np.zeros(3), camera.K, camera.distortion)[0].reshape(-1, 2)
        is_seen = ((expected >= 0) & (expected < size)).all(axis=1)
        assert is_seen.mean() > 0.7
        assert np.linalg.norm(found - expected, axis=1)[is_seen].max() < 0.13


def test_masks_are_of_the_pictures(release):
    take = next(iter(sources(release)))
    with open_clip(take.clips[1], DecodeLimits()) as source:
        mask_of = source.masks(range(3))
        for frame, image in source.frames(range(3)):
            mask = mask_of(frame)
            assert mask is not None
            assert image is not None
            assert image[mask].mean() > 120 > image[~mask].mean()


def test_joints_are_ours(release):
    take = next(iter(sources(release)))
    reference = annotations.read(release / str(take.reference))
    assert reference.instants.tolist() == list(range(NUM_FRAMES))
    assert reference.valid.all()
    expected = pose_mm(2, turn=3)
    expected[H36M_18.index("thorax")] = (
        expected[H36M_18.index("left_shoulder")] + expected[H36M_18.index("right_shoulder")]
    ) / 2
    np.testing.assert_allclose(reference.joints_world_mm[2], expected, atol=0.01)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"metadata\.xml: no such file; Human3\.6M's metadata\.xml"):
        sources(tmp_path)
    root = write_release(tmp_path, subjects=("S9",))
    video = root / "S9" / "Videos" / "Greeting 1.55011271.mp4"
    video.unlink()
    (root / "S9" / "MyPoseFeatures" / "D3_Positions" / "Greeting 1.cdf").unlink()
    with pytest.raises(
        ValueError, match=rf"^not where the release has them: {re.escape(str(video))}, .*D3_Positions/Greeting 1\.cdf$"
    ):
        sources(root)
    (root / "S9").rename(root / "s9")
    with pytest.raises(ValueError, match=r"no subject's folder"):
        sources(root)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<metadata>", "not Human3.6M's metadata"),
        ("<metadata><w0>[1 2 3]</w0></metadata>", "w0: expected 300 finite numbers, got 3"),
        (f"<metadata><w0>[nan {'1 ' * 299}]</w0></metadata>", "w0: expected 300 finite numbers"),
        (f"<metadata><w0>[{'1 ' * 300}]</w0></metadata>", "mapping: expected a row"),
        (f"<metadata><mapping><tr><td /></tr></mapping><w0>[{'1 ' * 300}]</w0></metadata>", "mapping: expected a row"),
        (
            "<metadata><mapping><tr><td /><td /><td>S1</td></tr><tr><td>2</td><td>1</td><td>../../x</td></tr></mapping>"
            f"<w0>[{'1 ' * 300}]</w0></metadata>",
            r"mapping: expected the name of files of \('S1', 2, 1\), got '../../x'",
        ),
    ],
)
def test_other_metadata_is_refused(tmp_path, text, complaint):
    (tmp_path / "metadata.xml").write_text(text)
    with pytest.raises(ValueError, match=complaint):
        sources(tmp_path)


def test_a_file_of_something_else_is_no_pose_file(tmp_path):
    (tmp_path / "walk.cdf").write_bytes(b"not a CDF file at all" * 100)
    with pytest.raises(ValueError, match=r"walk\.cdf: expected a CDF file"):
        annotations.read(tmp_path / "walk.cdf")


def test_poses_in_the_plane_are_refused(tmp_path):
    """Three frames of 32 joints in two dimensions are as many numbers as two frames in three."""
    write_pose_file(tmp_path / "plane.cdf", np.zeros((3, 64)))
    with pytest.raises(ValueError, match=r"plane\.cdf: Pose: expected frames x 96 numbers, got \(1, 3, 64\)"):
        annotations.read(tmp_path / "plane.cdf")


def test_a_pose_file_that_was_cut_off_is_named_or_whole_all_the_same(tmp_path):
    path = write_pose_file(tmp_path / "walk.cdf", np.arange(5 * 96.0).reshape(5, 96))
    content, whole = path.read_bytes(), annotations.read(path).joints_world_mm
    messages: list[str] = []
    for length in range(0, len(content), 23):
        path.write_bytes(content[:length])
        try:
            np.testing.assert_array_equal(annotations.read(path).joints_world_mm, whole)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 0.9 * len(content) / 23
    assert all(re.match(r"\S+/walk\.cdf: expected a CDF file with poses in Pose: .+$", text) for text in messages)
