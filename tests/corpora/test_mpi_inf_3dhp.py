import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mpi_inf_3dhp_files import (
    CHEST_CAMERAS,
    MARK_RGB,
    MARKED,
    NUM_FRAMES,
    chair_mask,
    picture,
    viewpoints,
    walker_mask,
    walker_mm,
    write_sequence,
    write_subject,
    write_test_set,
)

from mas_ray.annotations import mpi_inf_3dhp as reference
from mas_ray.config.ingest import DecodeLimits
from mas_ray.corpora.layout import RejectedSource
from mas_ray.corpora.mpi_inf_3dhp import TEST_SEQUENCES, sources
from mas_ray.ingest import commit
from mas_ray.ingest.decode import open_clip
from mas_ray.shards.manifest import file_sha256
from mas_ray.skeleton import H36M_18


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("3dhp")
    write_subject(root)
    return root


@pytest.fixture
def root(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "3dhp")


def decoded(clip, frames):
    with open_clip(clip, DecodeLimits()) as source:
        return [image for _, image in source.frames(frames)]


def masks_of(clip, frames):
    with open_clip(clip, DecodeLimits()) as source:
        mask_of = source.masks(frames)
        return [mask_of(frame) for frame in frames]


def found_mark(image):
    """The centre of the one disc of its colour."""
    near = np.abs(image.astype(int) - MARK_RGB).max(axis=-1) < 90
    return np.argwhere(near).mean(axis=0)[::-1]


def projected(calibration, point_mm):
    rotation = cv2.Rodrigues(calibration.R)[0]
    return cv2.projectPoints(point_mm.reshape(1, 3), rotation, calibration.t_mm, calibration.K, None)[0].ravel()


def test_a_sequence_is_a_take_of_five_views(pristine):
    first, second = sources(pristine)
    assert (first.take_id, first.subject, first.action) == ("S7_Seq1", "S7", "Seq1")
    assert (second.take_id, second.subject, second.action) == ("S7_Seq2", "S7", "Seq2")
    views = [f"video_{camera}" for camera in CHEST_CAMERAS]
    assert [clip.view for clip in first.clips] == [clip.view for clip in second.clips] == views
    folder = pristine / "S7" / "Seq1"
    clip = first.clips[1]
    assert clip.video == str(folder / "imageSequence" / "video_2.avi")
    assert (clip.masks, clip.chair_masks) == (
        str(folder / "FGmasks/video_2.avi"),
        str(folder / "ChairMasks/video_2.avi"),
    )
    assert first.reference == str(folder / "annot.mat")
    assert second.clips[1].video == str(pristine / "S7" / "Seq2" / "images" / "video_2")


def test_known_points_are_where_the_pictures_have_them(pristine):
    """The world of the reference, the cameras and the numbers of the frames belong together, in both layouts."""
    for take in sources(pristine):
        joints = reference.read(Path(take.reference))
        assert joints.instants.tolist() == list(range(NUM_FRAMES))
        for clip in take.clips:
            for frame, image in zip((0, 4), decoded(clip, [0, 4]), strict=True):
                point_mm = joints.joints_world_mm[frame, H36M_18.index(MARKED)]
                assert np.linalg.norm(found_mark(image) - projected(clip.calibration, point_mm)) < 0.6


def test_joints_are_the_walkers(pristine):
    (take, _) = sources(pristine)
    joints = reference.read(Path(take.reference))
    order = [4, 23, 24, 25, 18, 19, 20, 2, 5, 6, 7, 9, 10, 11, 14, 15, 16, 1]  # as in the paper's code
    expected = np.stack([walker_mm(frame)[order] for frame in range(NUM_FRAMES)])
    np.testing.assert_allclose(joints.joints_world_mm, expected, atol=0.02)
    assert joints.valid.all()
    assert "MPI-INF-3DHP" in joints.source


def test_masks_are_the_walker_without_the_chair_whatever_their_polarity(pristine):
    views = viewpoints()
    for take in sources(pristine):
        for camera, clip in list(zip(CHEST_CAMERAS, take.clips, strict=True))[::2]:
            for frame, mask in enumerate(masks_of(clip, range(NUM_FRAMES))):
                expected = walker_mask(views[camera], frame) & ~chair_mask(views[camera])
                # JPEG pictures halve the red channel's resolution, which takes a fringe off a walker of 100 px.
                assert (mask & expected).sum() / (mask | expected).sum() > (0.99 if "avi" in clip.video else 0.9)
                assert (mask & chair_mask(views[camera])).sum() <= 5


def test_pictures_are_the_videos_frames(pristine):
    first, second = sources(pristine)
    expected = picture(viewpoints()[4], 3).astype(int)
    for clip in (first.clips[2], second.clips[2]):
        assert np.abs(decoded(clip, [3])[0] - expected).mean() < 3


def test_what_is_missing_is_said_before_anything_is_read(root):
    (root / "S7" / "Seq1" / "FGmasks" / "video_4.avi").unlink()
    (root / "S7" / "Seq1" / "camera.calibration").write_text("nonsense")
    with pytest.raises(ValueError, match=r"^not where the release has them: \S+/S7/Seq1/FGmasks/video_4.avi$"):
        sources(root)
    shutil.rmtree(root / "S7" / "Seq2" / "chair_masks" / "video_0")
    with pytest.raises(ValueError, match=r"S7/Seq1/FGmasks/video_4.avi, \S+/S7/Seq2/chair_masks/video_0$"):
        sources(root)
    (root / "S8" / "Seq1").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"S8/Seq1/imageSequence/video_4.avi and 11 more$"):
        sources(root)
    with pytest.raises(ValueError, match=r"nowhere: no subject's folder \(S1, S2, ...\) of MPI-INF-3DHP, nor"):
        sources(root / "nowhere")


def test_masks_may_be_left_away_as_a_whole(root):
    for part in ("FGmasks", "ChairMasks"):
        shutil.rmtree(root / "S7" / "Seq1" / part)
    first, second = sources(root)
    assert {(clip.masks, clip.chair_masks) for clip in first.clips} == {(None, None)}
    assert all(clip.masks and clip.chair_masks for clip in second.clips)
    shutil.rmtree(root / "S7" / "Seq2" / "chair_masks")  # what is no green screen is not the person alone
    with pytest.raises(ValueError, match=r"S7/Seq2/ChairMasks/video_0.avi"):
        sources(root)


def test_cameras_that_cannot_be_read_reject_their_sequence_alone(root):
    path = root / "S7" / "Seq1" / "camera.calibration"
    path.write_text(path.read_text().replace("name          7", "name          70"))
    first, second = sources(root)
    assert first == RejectedSource(
        take_id="S7_Seq1",
        reason="bad_calibration",
        detail="S7/Seq1/camera.calibration: expected cameras 7, too",
    )
    assert second.take_id == "S7_Seq2"


def test_a_video_that_is_known_to_end_early_is_no_view(tmp_path):
    cameras = [camera for camera in CHEST_CAMERAS if camera != 2]
    write_sequence(tmp_path / "S6" / "Seq1", num_frames=1)
    write_sequence(tmp_path / "S6" / "Seq2", num_frames=1, cameras=cameras)
    first, second = sources(tmp_path)
    assert (len(first.clips), len(second.clips)) == (5, 4)


@pytest.mark.parametrize(("sequence", "outdoors"), [("TS1", False), ("TS6", True)])
def test_known_points_of_the_test_set(tmp_path, sequence, outdoors):
    (take,) = sources(write_test_set(tmp_path, sequences=[sequence]))
    (clip,) = take.clips
    assert (take.take_id, take.subject, clip.masks) == (sequence, sequence, None)
    joints = reference.read(Path(take.reference))
    assert joints.instants.tolist() == [0, 2]
    for pose, image in zip(joints.joints_world_mm, decoded(clip, [0, 2]), strict=True):
        assert np.linalg.norm(found_mark(image) - projected(clip.calibration, pose[H36M_18.index(MARKED)])) < 0.6
    lacking = {joint for joint, valid in zip(H36M_18.joints, joints.valid[0], strict=True) if not valid}
    assert lacking == {"spine", "thorax"}
    assert np.isnan(joints.joints_world_mm[:, [H36M_18.index("spine"), H36M_18.index("thorax")]]).all()


def test_the_whole_test_set(tmp_path):
    test_set = write_test_set(tmp_path, sequences=["TS1"], num_frames=2)
    for sequence in TEST_SEQUENCES[1:]:
        shutil.copytree(test_set / "TS1", test_set / sequence)
    assert [take.take_id for take in sources(test_set)] == list(TEST_SEQUENCES)
    (test_set / "TS5" / "annot_data.mat").unlink()
    with pytest.raises(ValueError, match=r"^not where the release has them: \S+/TS5/annot_data.mat$"):
        sources(test_set)


@pytest.mark.parametrize("part", ["images/video_0/frame_000002.jpg", "chair_masks/video_7/frame_000001.jpg"])
def test_every_file_of_a_take_shapes_its_content(root, part):
    before = commit.take_content(list(sources(root))[1])
    path = root / "S7" / "Seq2" / part
    path.write_bytes(path.read_bytes() + b"x")
    assert commit.take_content(list(sources(root))[1]) != before


@pytest.mark.parametrize("part", ["images", "masks", "chair_masks"])
def test_a_copy_whose_pictures_have_other_numbers_is_none(root, part):
    before = commit.take_footage(list(sources(root))[1], file_sha256)
    last = root / "S7" / "Seq2" / part / "video_0" / f"frame_{NUM_FRAMES:06d}.jpg"
    last.rename(last.with_name(f"frame_{NUM_FRAMES + 1:06d}.jpg"))
    assert commit.take_footage(list(sources(root))[1], file_sha256) != before
