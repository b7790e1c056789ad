from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from human36m_files import NUM_FRAMES, write_copy, write_release
from stick_people import MARKED, found_px

from mas_ray.annotations import human36m as annotations
from mas_ray.config.ingest import DecodeLimits
from mas_ray.corpora import human36m, human36m_pictures, official
from mas_ray.corpora.layout import RejectedSource
from mas_ray.corpora.take import Take
from mas_ray.ingest.decode import open_clip
from mas_ray.skeleton import H36M_18

DIRECTIONS = "s_01_act_02_subact_01"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return write_copy(tmp_path_factory.mktemp("copy"))


@pytest.fixture
def fresh_copy(copy, tmp_path):
    """To be damaged."""
    return shutil.copytree(copy, tmp_path / "copy")


def _takes(root):
    return [source for source in official.sources("human36m", root) if isinstance(source, Take)]


def _rejected(root):
    (rejected,) = [source for source in official.sources("human36m", root) if isinstance(source, RejectedSource)]
    assert len(_takes(root)) == 3
    return rejected.take_id, rejected.reason, rejected.detail


def test_takes_and_cameras_are_those_of_the_release(copy, tmp_path):
    copied, released = _takes(copy), list(human36m.sources(write_release(tmp_path)))
    assert len(copied) == len(released) == 4
    for ours, theirs in zip(copied, released, strict=True):
        for name in ("take_id", "subject", "action", "reference_fault", "ends_differ"):
            assert getattr(ours, name) == getattr(theirs, name)
        assert [clip.view for clip in ours.clips] == [clip.view for clip in theirs.clips]
        for one, other in zip(ours.clips, theirs.clips, strict=True):
            assert one.masks is None
            assert one.calibration is not None
            assert other.calibration is not None
            for name in ("width_px", "height_px", "K", "distortion", "R", "t_mm"):
                expected = getattr(other.calibration, name)
                np.testing.assert_allclose(getattr(one.calibration, name), expected, rtol=1e-12, atol=1e-9)
        mine = annotations.read_text(copy / str(ours.reference))
        of_release = annotations.read(tmp_path / str(theirs.reference))
        np.testing.assert_allclose(mine.joints_world_mm, of_release.joints_world_mm, atol=1e-3)
        np.testing.assert_array_equal(mine.instants, of_release.instants)
        assert mine.valid.all()


def test_reference_joints_lie_where_the_cameras_see_them(copy):
    """In the undistorted pictures of their frame."""
    for take in _takes(copy):
        reference = annotations.read_text(copy / str(take.reference))
        for clip in take.clips:
            camera = clip.calibration
            assert camera is not None
            with open_clip(clip, DecodeLimits()) as source:
                assert source.info.num_frames == NUM_FRAMES
                for frame, image in source.frames([0, NUM_FRAMES - 1]):
                    assert image is not None
                    in_image = (reference.joints_world_mm[frame] @ camera.R.T + camera.t_mm) @ camera.K.T
                    expected = in_image[:, :2] / in_image[:, 2:]
                    for joint, rgb in MARKED.items():
                        apart = np.linalg.norm(found_px(image, rgb) - expected[H36M_18.index(joint)])
                        assert apart < 1.0, (take.take_id, clip.view, joint, apart)


def test_what_is_missing_is_named(fresh_copy):
    text = fresh_copy / "annot" / f"{DIRECTIONS}_ca_02" / "matlab_meta.txt"
    text.unlink()
    folder = fresh_copy / "images" / f"{DIRECTIONS}_ca_04"
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(ValueError, match=rf"^not where the copy has them: {re.escape(f'{text}, {folder}')}$"):
        official.sources("human36m", fresh_copy)
    for path in (fresh_copy / "annot").iterdir():  # 15 text files, one of them above, and the folder: 5 are named
        path.rename(path.with_name(f"old_{path.name}"))
    with pytest.raises(ValueError, match=r"not where the copy has them: .* and 11 more$"):
        official.sources("human36m", fresh_copy)


def test_no_recordings_at_all(tmp_path):
    (tmp_path / "annot").mkdir()
    with pytest.raises(ValueError, match="no annot/s_01_act_02_subact_01_ca_01"):
        human36m_pictures.sources(tmp_path)


def test_a_missing_picture_shifts_nothing(fresh_copy):
    name = f"{DIRECTIONS}_ca_03"
    (fresh_copy / "images" / name / f"{name}_000002.jpg").unlink()
    assert _rejected(fresh_copy) == (
        "S01_Directions_1",
        "bad_layout",
        f"images/{name}: expected {name}_000002.jpg, found {name}_000003.jpg",
    )


@pytest.mark.parametrize(
    ("line", "text", "complaint"),
    [
        (3, "R 1 0 0 0 1 0 0 0", "line 3: expected 9 numbers behind a word"),
        (3, "R 1 0 0 0 1 0 0 0 x", "line 3: expected 9 numbers behind a word"),
        (4, "T nan 0 0", "line 4: expected 3 numbers behind a word"),
        (5, "f 1145 1144 512 515", "line 5: expected 2 numbers behind a word"),
    ],
)
def test_a_camera_of_another_kind_is_a_reject(fresh_copy, line, text, complaint):
    path = fresh_copy / "annot" / f"{DIRECTIONS}_ca_01" / "matlab_meta.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[: line - 1], text, *lines[line:]]))
    where = f"annot/{DIRECTIONS}_ca_01/matlab_meta.txt"
    assert _rejected(fresh_copy) == ("S01_Directions_1", "bad_calibration", f"{where}: {complaint}")
    path.write_text("\n".join(lines[:5]))
    assert _rejected(fresh_copy)[2] == f"{where}: expected 8 lines of the camera"


@pytest.mark.parametrize(
    ("line", "text", "complaint"),
    [
        (1, "many", "expected frames, a camera"),
        (1, "9", "expected 9 lines of 96 numbers, got .8, 96"),
        (9, "1 2 3", "line 9: expected the numbers of the 17 joints, got .1, 2, 3."),
        (9, f"joints {' '.join(map(str, range(1, 18)))}", "line 9: expected the numbers of the 17 joints"),
        (11, "2 1.0 2.0", "expected frames, a camera"),
    ],
)
def test_poses_of_another_kind_are_refused(fresh_copy, line, text, complaint):
    path = fresh_copy / "annot" / f"{DIRECTIONS}_ca_01" / "matlab_meta.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[: line - 1], text, *lines[line:]]))
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: .*{complaint}"):
        annotations.read_text(path)
