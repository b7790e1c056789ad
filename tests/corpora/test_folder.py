from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mas_ray.corpora.calibration_files import write_calibrations
from mas_ray.corpora.folder import takes
from mas_ray.corpora.take import Calibration


def _touch(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def _calibrate(folder: Path, *cameras: str) -> None:
    camera = Calibration(
        width_px=64,
        height_px=48,
        K=np.array([[50.0, 0, 32], [0, 50.0, 24], [0, 0, 1]]),
        distortion=np.zeros(0),
        R=np.eye(3),
        t_mm=np.array([0.0, 0.0, 3000.0]),
    )
    write_calibrations(folder / "calibration" / "cameras.json", dict.fromkeys(cameras, camera))


def test_a_complete_take(tmp_path: Path):
    folder = tmp_path / "jump 1"
    videos = [_touch(folder / "videos" / name) for name in ("b.mp4", "a.MKV")]
    _touch(folder / "videos" / "notes.txt")
    _touch(folder / "videos" / "._a.mp4")
    _calibrate(folder, "a", "b")
    _touch(folder / "take.json", '{"subject": "s01", "action": "jump"}')
    masks = _touch(folder / "masks" / "a" / "000000.png").parent
    mask_video = _touch(folder / "masks" / "b.mp4")
    background = _touch(folder / "backgrounds" / "b.png")
    reference = _touch(folder / "reference.parquet")
    (take,) = takes(tmp_path)
    assert (take.take_id, take.subject, take.action) == ("jump_1", "s01", "jump")
    assert take.reference == str(reference)
    a, b = take.clips
    assert (a.view, a.video, a.masks, a.background) == ("a", str(videos[1]), str(masks), None)
    assert (b.view, b.video, b.masks, b.background) == ("b", str(videos[0]), str(mask_video), str(background))
    assert a.calibration is not None
    assert a.calibration.t_mm[2] == pytest.approx(3000.0)


def test_takes_come_in_order_with_their_folder_as_subject_and_action(tmp_path: Path):
    for name in ("z", "a", "m"):
        _touch(tmp_path / name / "videos" / "cam.mp4")
    _touch(tmp_path / "m" / "take.json", '{"subject": "s01"}')
    _touch(tmp_path / "k.mov")
    _touch(tmp_path / "README.md")
    _touch(tmp_path / ".unfinished" / "videos" / "cam.mp4")
    found = list(takes(tmp_path))
    assert [(take.take_id, take.subject, take.action) for take in found] == [
        ("a", "a", "a"),
        ("k", "k", "k"),
        ("m", "s01", "m"),
        ("z", "z", "z"),
    ]
    assert found[1].clips[0].view == "k"
    assert all(clip.calibration is None and take.reference is None for take in found for clip in take.clips)


def test_several_videos_without_calibration_are_uncalibrated_views(tmp_path: Path):
    for name in ("left", "right"):
        _touch(tmp_path / "take" / "videos" / f"{name}.webm")
    (take,) = takes(tmp_path)
    assert [(clip.view, clip.calibration) for clip in take.clips] == [("left", None), ("right", None)]


@pytest.mark.parametrize(
    ("videos", "cameras", "message"),
    [
        (("a", "b"), ("a",), r"videos/b\.mp4: camera 'b' is not in .*cameras\.json"),
        (("a",), ("a", "b"), r"cameras\.json: camera 'b' has no video"),
        (("cam1",), ("cam01",), r"videos/cam1\.mp4: camera 'cam1'"),
    ],
)
def test_videos_and_cameras_must_be_the_same(tmp_path: Path, videos: tuple, cameras: tuple, message: str):
    for name in videos:
        _touch(tmp_path / "take" / "videos" / f"{name}.mp4")
    _calibrate(tmp_path / "take", *cameras)
    with pytest.raises(ValueError, match=message):
        list(takes(tmp_path))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "no takes"),
        (("videos/a.mp4",), "this is a take"),
        (("take/a.mp4",), r"take/videos: expected a folder"),
        (("take/videos/a.txt",), r"take/videos: no videos"),
        (("take/videos/a.mp4", "take/videos/a.avi"), r"a\.avi and a\.mp4 are both"),
        (("take/videos/a.mp4", "take/calibration/readme.txt"), r"calibration: expected one .* found none"),
        (("take/videos/a.mp4", "take/calibration/a.toml", "take/calibration/b.json"), r"found a\.toml, b\.json"),
        (("take/videos/a.mp4", "take/masks/b.mp4"), r"masks/b\.mp4: there is no video of a camera 'b'"),
        (("take/videos/a.mp4", "take/backgrounds/A.png"), r"backgrounds/A\.png: there is no video"),
        (("a b/videos/a.mp4", "a_b.mp4"), r"same take id 'a_b'"),
        (("a.mp4", "a.mov"), r"same take id 'a'"),
    ],
)
def test_a_bad_layout_is_an_error_of_one_line_that_names_the_place(tmp_path: Path, files: tuple, message: str):
    for name in files:
        _touch(tmp_path / name)
    with pytest.raises(ValueError, match=message) as error:
        list(takes(tmp_path))
    assert "\n" not in str(error.value)


def test_unknown_keys_of_take_json_are_errors(tmp_path: Path):
    _touch(tmp_path / "take" / "videos" / "a.mp4")
    _touch(tmp_path / "take" / "take.json", json.dumps({"subjct": "s01"}))
    with pytest.raises(ValueError, match=r"take\.json: unknown key 'subjct'; did you mean 'subject'"):
        list(takes(tmp_path))


def test_a_missing_root_is_an_error_at_once(tmp_path: Path):
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        takes(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["été 2024", "a/../b".replace("/", ":"), "日本", "x*?"])
def test_take_ids_are_safe_file_names(tmp_path: Path, name: str):
    _touch(tmp_path / name / "videos" / "a.mp4")
    (take,) = takes(tmp_path)
    assert all(c.isascii() and (c.isalnum() or c in "._-") for c in take.take_id)
    assert take.subject == name
