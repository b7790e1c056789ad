from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from mas_ray.reporting.video import middle_frame, write_video


def _frames(num: int, height: int = 48, width: int = 64):
    for n in range(num):
        yield np.full((height, width, 3), 20 * n, np.uint8)


def test_a_video_plays_in_browsers(tmp_path):
    path = tmp_path / "deep" / "a.mp4"
    assert write_video(path, _frames(10), Fraction(25, 2)) == 10
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", Fraction(25, 2))
        levels = [int(frame.to_ndarray(format="rgb24").mean()) for frame in container.decode(stream)]
    assert np.allclose(levels, 20 * np.arange(10), atol=4)
    head = path.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")
    assert [p.name for p in path.parent.iterdir()] == ["a.mp4"]


def test_the_middle_frame_is_a_picture_of_it(tmp_path):
    write_video(tmp_path / "a.mp4", _frames(10), Fraction(10))
    image = middle_frame(tmp_path / "a.mp4")
    assert image is not None
    assert image.shape == (48, 64, 3)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    assert middle_frame(tmp_path / "b.mp4") is None


def test_frames_that_do_not_fit_are_named_and_leave_nothing_behind(tmp_path):
    def frames():
        yield np.zeros((48, 64, 3), np.uint8)
        yield np.zeros((48, 62, 3), np.uint8)

    with pytest.raises(ValueError, match=r"a\.mp4: frame 1 is 62x48 px"):
        write_video(tmp_path / "a.mp4", frames(), Fraction(25))
    with pytest.raises(ValueError, match=r"a\.mp4: frame 0 is 63x48 px"):
        write_video(tmp_path / "a.mp4", _frames(1, width=63), Fraction(25))
    assert list(tmp_path.iterdir()) == []


def test_no_frames_give_no_file(tmp_path):
    assert write_video(tmp_path / "a.mp4", iter(()), Fraction(25)) == 0
    assert list(tmp_path.iterdir()) == []
