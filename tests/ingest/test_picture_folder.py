"""Folders of pictures, through the decoder process like any video."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from mas_ray.config.ingest import DecodeLimits
from mas_ray.corpora.take import Clip, Take
from mas_ray.ingest import commit
from mas_ray.ingest.decode import open_clip
from mas_ray.ingest.picture_folder import numbered
from mas_ray.ingest.rejects import BadTakeError
from mas_ray.shards.manifest import file_sha256

WIDTH, HEIGHT = 64, 48


def _image(number: int) -> np.ndarray:
    image = np.full((HEIGHT, WIDTH, 3), (200, 40, 20 * number), np.uint8)
    image[:, : 8 * number + 4] = (10, 10, 10)
    return image


def _write(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for number, name in enumerate(sorted(names)):
        cv2.imwrite(str(folder / name), cv2.cvtColor(_image(number), cv2.COLOR_RGB2BGR))
    return folder


def _frames(folder: Path, numbers: list[int]) -> dict[int, np.ndarray | None]:
    with open_clip(Clip(view="cam", video=str(folder)), DecodeLimits()) as source:
        return dict(source.frames(numbers))


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["f_0001.jpg", "f_0002.jpg", "f_0004.jpg"], [0, 1, 3]),
        (["00.png", "02.png", "10.png"], [0, 2, 10]),
        (["a.png", "b.png", "c7.png"], [0, 1, 2]),
        (["x1.png", "y1.png"], [0, 1]),
        ([], []),
    ],
)
def test_a_missing_picture_shifts_no_other(names, numbers):
    found = numbered(Path(name) for name in reversed(names))
    assert [(number, path.name) for number, path in found.items()] == list(zip(numbers, names, strict=True))


def test_a_missing_picture_is_a_hole(tmp_path):
    found = _frames(_write(tmp_path / "images", ["0001.png", "0003.png"]), [0, 1, 2])
    assert found[1] is None
    np.testing.assert_array_equal(found[2], _image(1))


def test_pictures_are_frames_in_the_order_of_their_names(tmp_path):
    folder = _write(tmp_path / "images", ["c.png", "a.png", "m.png"])
    (folder / "notes.txt").write_text("not a picture")
    with open_clip(Clip(view="cam", video=str(folder)), DecodeLimits()) as source:
        info = source.info
        assert (info.width_px, info.height_px, info.num_frames, info.frames_per_s) == (WIDTH, HEIGHT, 3, 25)
        assert info.times_s.tolist() == [0, 0.04, 0.08]
        for number, image in source.frames([0, 2]):
            np.testing.assert_array_equal(image, _image(number))
        small = dict(source.small_frames([1], size_px=12))[1]
        assert small is not None
        assert small.shape == (12, 16, 3)


def test_jpeg_too(tmp_path):
    found = _frames(_write(tmp_path / "images", ["a.jpg", "b.JPEG"]), [1])[1]
    assert found is not None
    assert np.abs(found.astype(int) - _image(1)).mean() < 6


def test_a_picture_that_does_not_decode_is_a_hole(tmp_path):
    folder = _write(tmp_path / "images", ["0.png", "1.png", "2.png"])
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:40])
    found = _frames(folder, [0, 1, 2])
    assert found[1] is None
    np.testing.assert_array_equal(found[2], _image(2))


def test_what_only_calls_itself_a_picture_is_not_opened(tmp_path):
    """Neither as what it is, nor as what it names."""
    folder = _write(tmp_path / "images", ["a.png", "d.png"])
    (folder / "b.png").write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
    os.mkfifo(folder / "c.png")
    (folder / "%d.png").write_text("")
    found = _frames(folder, [0, 1, 2, 3, 4])
    assert [number for number, image in found.items() if image is None] == [0, 2, 3]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [(DecodeLimits(max_frames=2), "too_long"), (DecodeLimits(max_pixels=1000), "too_large")],
)
def test_limits_hold(tmp_path, limits, reason):
    folder = _write(tmp_path / "images", ["0.png", "1.png", "2.png"])
    with pytest.raises(BadTakeError) as caught, open_clip(Clip(view="cam", video=str(folder)), limits):
        pass
    assert caught.value.reason in (reason, "unreadable_video")


def test_pictures_of_another_size_are_refused(tmp_path):
    folder = _write(tmp_path / "images", ["0.png", "1.png"])
    cv2.imwrite(str(folder / "2.png"), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(BadTakeError, match=r"2\.png: 20x20 px, the first picture is 64x48 px") as caught:
        _frames(folder, [0, 1, 2])
    assert caught.value.reason == "changing_size"


def test_a_folder_without_pictures_is_no_video(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(BadTakeError, match="images: no picture in it decodes"):
        _frames(tmp_path / "images", [0])


def test_every_picture_is_part_of_what_a_take_is(tmp_path):
    folder = _write(tmp_path / "images", ["0.png", "1.png"])
    take = Take(take_id="t", subject="s", action="a", clips=(Clip(view="cam", video=str(folder)),))
    content, footage = commit.take_content(take), commit.take_footage(take, file_sha256)
    assert commit.take_files(take) == [str(folder / "0.png"), str(folder / "1.png")]
    (folder / "1.png").rename(folder / "2.png")
    assert commit.take_content(take) != content
    assert commit.take_footage(take, file_sha256) != footage
