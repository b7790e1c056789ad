from __future__ import annotations

import json
import os
import re
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest

from mas_ray.corpora.calibration_files import write_calibrations
from mas_ray.corpora.folder import sources, takes
from mas_ray.corpora.layout import RejectedSource
from mas_ray.corpora.take import Calibration, Take


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


def _rejected(root: Path) -> RejectedSource:
    """The only source that is no take; beside it there is one healthy take, which it must not stop."""
    _touch(root / "healthy" / "videos" / "cam.mp4")
    (rejected,) = [source for source in sources(root) if isinstance(source, RejectedSource)]
    assert [take.take_id for take in takes(root)] == ["healthy"]
    assert "\n" not in rejected.detail
    assert str(root) not in rejected.detail
    return rejected


def test_a_complete_take(tmp_path: Path):
    folder = tmp_path / "jump"
    videos = [_touch(folder / "videos" / name) for name in ("b.mp4", "a.MKV")]
    _touch(folder / "videos" / "notes.txt")
    _touch(folder / "videos" / "._a.mp4")
    _calibrate(folder, "a", "b")
    _touch(folder / "take.json", '{"subject": "s01", "action": "jumps"}')
    masks = _touch(folder / "masks" / "a" / "000000.png").parent
    mask_video = _touch(folder / "masks" / "b.mp4")
    background = _touch(folder / "backgrounds" / "b.png")
    reference = _touch(folder / "reference.parquet")
    (take,) = takes(tmp_path)
    assert (take.take_id, take.subject, take.action) == ("jump", "s01", "jumps")
    assert take.reference == str(reference)
    a, b = take.clips
    assert (a.view, a.video, a.masks, a.background) == ("a", str(videos[1]), str(masks), None)
    assert (b.view, b.video, b.masks, b.background) == ("b", str(videos[0]), str(mask_video), str(background))
    assert a.calibration is not None
    assert a.calibration.t_mm[2] == pytest.approx(3000.0)


def test_takes_come_in_the_order_of_their_ids_from_folders_of_any_depth(tmp_path: Path):
    for name in ("z", "a", "batch/m"):
        _touch(tmp_path / name / "videos" / "cam.mp4")
    _touch(tmp_path / "batch" / "m" / "take.json", '{"subject": "s01"}')
    _touch(tmp_path / "k.mov")
    _touch(tmp_path / "batch" / "2" / "k.mov")
    _touch(tmp_path / "README.md")
    _touch(tmp_path / "notes" / "README.md")
    _touch(tmp_path / ".unfinished" / "videos" / "cam.mp4")
    found = list(takes(tmp_path))
    assert [(re.sub("-.{12}$", "#", take.take_id), take.subject, take.action) for take in found] == [
        ("a", "a", "a"),
        ("batch_2_k.mov#", "batch/2/k", "batch/2/k"),
        ("batch_m#", "s01", "batch/m"),
        ("k.mov", "k", "k"),
        ("z", "z", "z"),
    ]
    assert [found[i].clips[0].view for i in (1, 3)] == ["k", "k"]
    assert found[1].clips[0].video == str(tmp_path / "batch" / "2" / "k.mov")
    assert all(clip.calibration is None and take.reference is None for take in found for clip in take.clips)
    assert next(iter(sources(tmp_path))).take_id == "a"
    assert not any(isinstance(source, RejectedSource) for source in sources(tmp_path))


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
    rejected = _rejected(tmp_path)
    assert (rejected.take_id, rejected.reason) == ("take", "bad_calibration")
    assert re.search(message, rejected.detail)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("take/videos/a.txt",), r"take/videos: no videos"),
        (("take/masks/a.mp4",), r"take/videos: expected a folder"),
        (("take/videos/a.mp4", "take/videos/a.avi"), r"a\.avi and a\.mp4 are both"),
        (("take/videos/a.mp4", "take/calibration/readme.txt"), r"calibration: expected one .* found none"),
        (("take/videos/a.mp4", "take/calibration/a.toml", "take/calibration/b.json"), r"found a\.toml, b\.json"),
        (("take/videos/a.mp4", "take/calibration/a.toml/x"), r"calibration: expected one .* found none"),
        (("take/videos/a.mp4", "take/masks/b.mp4"), r"masks/b\.mp4: there is no video of a camera 'b'"),
        (("take/videos/a.mp4", "take/backgrounds/A.png"), r"backgrounds/A\.png: there is no video"),
        (("take/videos/a.mp4", "take/take.json/x"), r"take\.json: expected a file"),
        (("take/videos/a.mp4", "take/masks"), r"masks: expected a folder"),
    ],
)
def test_a_bad_layout_is_rejected_with_a_line_that_names_the_place(tmp_path: Path, files: tuple, message: str):
    for name in files:
        _touch(tmp_path / name)
    rejected = _rejected(tmp_path)
    assert (rejected.take_id, rejected.reason) == ("take", "bad_layout")
    assert re.search(message, rejected.detail)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps({"subjct": "s01"}), r"^take/take\.json: unknown key 'subjct'; did you mean 'subject'"),
        ("[" * 100_000, r"^take/take\.json: not valid JSON$"),
        ("{", r"^take/take\.json: not valid JSON"),
    ],
)
def test_a_bad_description_is_rejected(tmp_path: Path, content: str, message: str):
    _touch(tmp_path / "take" / "videos" / "a.mp4")
    _touch(tmp_path / "take" / "take.json", content)
    rejected = _rejected(tmp_path)
    assert rejected.reason == "bad_description"
    assert re.search(message, rejected.detail)


_CAMERA = """{"cameras": {"a": {"name": NAME, "size": [64, 48], "matrix": [[FOCAL, 0, 32], [0, 60, 24], [0, 0, 1]],
"distortions": [], "rotation": [0, 0, 0], "translation": [0, 0, 3]}}}"""


@pytest.mark.parametrize(
    "content",
    ["{", '{"cameras": {}}', "[" * 100_000, _CAMERA.replace("NAME", '"a"').replace("FOCAL", "9" * 400)],
)
def test_a_bad_calibration_is_rejected(tmp_path: Path, content: str):
    _touch(tmp_path / "take" / "videos" / "a.mp4")
    _touch(tmp_path / "take" / "calibration" / "c.json", content)
    assert _rejected(tmp_path).reason == "bad_calibration"


def test_what_a_file_says_is_escaped_before_it_is_told(tmp_path: Path):
    _touch(tmp_path / "take" / "videos" / "a.mp4")
    content = _CAMERA.replace("NAME", r'"\ud800\u001b[31m"').replace("FOCAL", "60")
    _touch(tmp_path / "take" / "calibration" / "c.json", content)
    assert _rejected(tmp_path).detail.endswith(r"it has \ud800\x1b[31m")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "no takes"),
        (("notes/README.md",), "no takes"),
        (("videos/a.mp4",), "this is a take"),
    ],
)
def test_what_is_wrong_with_the_whole_corpus_is_an_error_at_once(tmp_path: Path, files: tuple, message: str):
    for name in files:
        _touch(tmp_path / name)
    with pytest.raises(ValueError, match=f"^{re.escape(str(tmp_path))}: {message}"):
        sources(tmp_path)
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        takes(tmp_path / "nowhere")


def _link(path: Path, target: Path | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def test_links_within_the_corpus_count_and_no_others(tmp_path: Path):
    root, elsewhere = tmp_path / "corpus", tmp_path / "corpus2"
    _touch(root / "healthy" / "videos" / "cam.mp4")
    _touch(root / ".store" / "123")
    _touch(elsewhere / "x.mp4")
    _link(root / "stored.mp4", ".store/123")
    _link(root / "dangling.mp4", "nothing.mp4")
    _link(root / "dangling_folder", "nothing")
    _link(root / "outside.mp4", elsewhere / "x.mp4")
    _link(root / "nowhere.mp4", elsewhere / "nothing.mp4")
    _link(root / "outside_folder", elsewhere)
    _link(root / "up", "..")
    _link(root / "self.mp4", "self.mp4")
    _link(root / "batch" / "again", root)
    _link(root / "healthy2", "healthy")
    _link(root / "null.mp4", "/dev/null")
    _link(root / "notes.txt", elsewhere / "x.mp4")
    found = {source.detail.split(":")[0]: source for source in sources(root) if isinstance(source, RejectedSource)}
    assert {name: source.reason for name, source in found.items()} == {
        "dangling.mp4": "unreadable_file",
        "dangling_folder": "unreadable_file",
        "outside.mp4": "unsafe_link",
        "nowhere.mp4": "unsafe_link",
        "outside_folder": "unsafe_link",
        "up": "unsafe_link",
        "self.mp4": "unsafe_link",
        "batch/again": "unsafe_link",
        "healthy2": "unsafe_link",
        "null.mp4": "unsafe_link",
    }
    assert "out of the corpus" in found["up"].detail
    assert "in a circle" in found["self.mp4"].detail
    assert "a link to a folder" in found["batch/again"].detail
    assert [take.take_id for take in takes(root)] == ["healthy", "stored.mp4"]


@pytest.mark.parametrize(
    "part", ["videos/cam.mp4", "take.json", "reference.parquet", "calibration/c.json", "masks/cam/000001.png", "videos"]
)
def test_a_take_whose_files_lie_elsewhere_is_rejected(tmp_path: Path, part: str):
    root = tmp_path / "corpus"
    _touch(root / "take" / "videos" / "cam.mp4")
    if part == "videos":
        shutil.rmtree(root / "take" / "videos")
        (tmp_path / "secret").mkdir()
    (root / "take" / part).unlink(missing_ok=True)
    _link(root / "take" / part, _touch(tmp_path / "secret" / "x", "{}") if "." in part else tmp_path / "secret")
    rejected = _rejected(root)
    assert rejected.reason == "unsafe_link"
    assert rejected.detail.startswith(f"take/{part}: ")


def test_takes_may_share_files_of_the_corpus(tmp_path: Path):
    for name in ("a", "b"):
        _touch(tmp_path / name / "videos" / "cam.mp4")
    _calibrate(tmp_path / "a", "cam")
    _link(tmp_path / "b" / "calibration", "../a/calibration")
    assert all(take.clips[0].calibration for take in takes(tmp_path))


def test_pipes_and_sockets_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    os.mkfifo(tmp_path / "pipe.mp4")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("socket.mp4")
        _link(tmp_path / "link.mp4", "pipe.mp4")
        found = [source for source in sources(tmp_path) if isinstance(source, RejectedSource)]
    assert [(source.take_id, source.reason) for source in found] == [
        ("link.mp4", "unreadable_file"),
        ("pipe.mp4", "unreadable_file"),
        ("socket.mp4", "unreadable_file"),
    ]


def test_what_may_not_be_read_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _touch(tmp_path / "locked.mp4")
    _touch(tmp_path / "closed" / "x.mp4")
    may, scan = os.access, os.scandir

    def scan_most(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    # Mode bits would not hold a superuser off.
    monkeypatch.setattr(os, "access", lambda path, mode: not path.endswith("locked.mp4") and may(path, mode))
    monkeypatch.setattr(os, "scandir", scan_most)
    _touch(tmp_path / "healthy.mp4")
    closed, healthy, locked = sources(tmp_path)
    assert isinstance(healthy, Take)
    assert isinstance(closed, RejectedSource)
    assert isinstance(locked, RejectedSource)
    assert (closed.reason, closed.detail) == ("unreadable_file", "closed: Permission denied")
    assert (locked.reason, locked.detail) == ("unreadable_file", "locked.mp4: no permission to read it")


def test_a_failing_disk_is_no_fault_of_a_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _touch(tmp_path / "a.mp4")

    def fail(path):
        raise OSError(5, "Input/output error", path)

    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(OSError, match="Input/output error"):
        sources(tmp_path)


def test_a_folder_called_a_video_is_a_take_a_folder_of_takes_or_rejected(tmp_path: Path):
    _touch(tmp_path / "a.mp4" / "videos" / "cam.mp4")
    _touch(tmp_path / "b.mp4" / "x.mp4")
    _touch(tmp_path / "c.mp4" / "000001.jpg")
    a, b, c = sources(tmp_path)
    assert isinstance(a, Take)
    assert isinstance(b, Take)
    assert isinstance(c, RejectedSource)
    assert (c.reason, c.detail) == ("bad_layout", "c.mp4: a folder, expected a video")


def test_names_that_are_no_text_stay_readable(tmp_path: Path):
    name = os.fsdecode(b"caf\xe9\n\x1b[31m.mp4")
    _touch(tmp_path / name)
    (take,) = takes(tmp_path)
    assert take.subject == r"caf\xe9\n\x1b[31m"
    assert take.clips[0].video == str(tmp_path / name)
    assert take.clips[0].view.isascii()
    assert take.clips[0].view.isprintable()
    _touch(tmp_path / "take" / "videos" / name)
    (rejected,) = [source for source in sources(tmp_path) if isinstance(source, RejectedSource)]
    assert (rejected.take_id, rejected.reason) == ("take", "unsafe_name")
    rejected.detail.encode()
