"""Videos as strangers make them: the right pixels, or one clear reason."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest
from moving_square import HEIGHT, RATE, WIDTH, picture, write_video

from mas_ray.config.ingest import DecodeLimits
from mas_ray.corpora.take import Clip
from mas_ray.ingest import video as video_module
from mas_ray.ingest.decode import open_clip
from mas_ray.ingest.rejects import BadTakeError
from mas_ray.ingest.video import BadVideoError, open_video


def read(path, **limits):
    with open_clip(Clip(view="cam", video=str(path)), DecodeLimits(**limits)) as source:
        return source.info, [image for _, image in source.frames(range(source.info.num_frames))]


def reason(path, **limits):
    with pytest.raises(BadTakeError) as error:
        read(path, **limits)
    assert path.name in str(error.value)
    assert str(path.parent) not in str(error.value)
    assert "\n" not in str(error.value)
    return error.value.reason


def write(path, images, *, codec="libx264", pix_fmt="yuv420p", rate=RATE, pts=None, convert=None, **options):
    """Write images; ``pts`` gives their times in thousandths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = images[0].shape[1], images[0].shape[0], pix_fmt
        if pts is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, image in enumerate(images):
            frame = convert(image) if convert else av.VideoFrame.from_ndarray(image, format="rgb24")
            if pts is not None:
                frame.pts, frame.time_base = pts[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def pictures(num):
    return [picture(i, 1) for i in range(num)]


def paletted(image):
    """The picture's three levels of grey as a palette."""
    levels, index = np.unique(image[..., 0], return_inverse=True)
    palette = np.zeros((256, 4), np.uint8)
    palette[: len(levels)] = np.stack([np.full_like(levels, 255), levels, levels, levels], axis=1)
    return av.VideoFrame.from_ndarray((index.reshape(image.shape[:2]).astype(np.uint8), palette), format="pal8")


def half_transparent(image):
    rgba = np.concatenate([image, np.full((HEIGHT, WIDTH, 1), 128, np.uint8)], axis=2)
    return av.VideoFrame.from_ndarray(rgba, format="rgba")


@pytest.mark.parametrize(
    ("name", "writing"),
    [
        ("ten_bits.mp4", {"pix_fmt": "yuv420p10le"}),
        ("422.mp4", {"pix_fmt": "yuv422p"}),
        ("444.mp4", {"pix_fmt": "yuv444p"}),
        ("gray.mkv", {"codec": "ffv1", "pix_fmt": "gray"}),
        ("sixteen_bit_gray.mkv", {"codec": "ffv1", "pix_fmt": "gray16le"}),
        ("alpha.mov", {"codec": "png", "pix_fmt": "rgba", "convert": half_transparent}),
        ("palette.mov", {"codec": "png", "pix_fmt": "pal8", "convert": paletted}),
        ("interlaced.mp4", {"flags": "+ildct+ilme", "x264-params": "tff=1"}),
        ("full_range.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        ("b_frames_without_times.avi", {"codec": "mpeg4", "bf": "2", "g": "6"}),
        ("vp9.webm", {"codec": "libvpx-vp9", "deadline": "realtime", "cpu-used": "8"}),
    ],
)
def test_odd_pixels_are_right(tmp_path, name, writing):
    options = {"crf": "4"} if "codec" not in writing else {"b": "2000000"}
    info, images = read(write(tmp_path / name, pictures(8), **options, **writing))
    assert (info.width_px, info.height_px, info.frames_per_s, info.num_frames) == (WIDTH, HEIGHT, RATE, 8)
    np.testing.assert_allclose(info.times_s, np.arange(8) / RATE, atol=6e-4)  # Matroska counts milliseconds
    for i, image in enumerate(images):
        assert np.abs(image.astype(int) - picture(i, 1)).mean() < 3, i


@pytest.mark.parametrize("rate", [1, 1000])
def test_unusual_rates(tmp_path, rate):
    info, images = read(write(tmp_path / "video.mp4", pictures(5), rate=rate))
    assert info.frames_per_s == rate
    np.testing.assert_allclose(info.times_s, np.arange(5) / rate)
    assert all(image is not None for image in images)


def test_time_that_stands_still(tmp_path):
    info, images = read(write(tmp_path / "still.mkv", pictures(4), pts=[0] * 4, crf="4", bf="0"))
    np.testing.assert_allclose(info.times_s, np.arange(4) / RATE)
    assert all(image is not None for image in images)
    assert reason(write(tmp_path / "one.ts", pictures(1), pts=[0])) == "no_frame_rate"


def test_variable_rate_is_told_by_times(tmp_path):
    pts = [0, 40, 80, 500, 520, 1600]
    info, images = read(write(tmp_path / "phone.mkv", pictures(6), pts=pts, crf="4"))
    np.testing.assert_allclose(info.times_s, np.array(pts) / 1000)
    assert [round((float(image[image > 75].mean()) - 100) / 5) for image in images] == list(range(6))


def test_two_recordings_behind_one_another_keep_all_frames(tmp_path):
    parts = [write(tmp_path / f"{i}.ts", pictures(6), crf="4", g="3", bf="2") for i in range(2)]
    path = tmp_path / "both.mp4"  # a wrong extension as well
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    info, images = read(path)
    assert info.num_frames == 12
    np.testing.assert_allclose(info.times_s, np.arange(12) / RATE, atol=1e-3)
    found = [None if image is None else round((float(image[image > 75].mean()) - 100) / 5) for image in images]
    assert found == [*range(6), *range(6)]


def test_a_size_that_changes(tmp_path):
    small = write(tmp_path / "0.ts", pictures(4), crf="4")
    large = write(tmp_path / "1.ts", [np.tile(image, (2, 2, 1)) for image in pictures(4)], crf="4")
    path = tmp_path / "both.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    assert reason(path) == "changing_size"


def test_one_frame(tmp_path):
    info, (image,) = read(write_video(tmp_path / "one.mp4", pictures(1)))
    assert (info.num_frames, list(info.times_s)) == (1, [0.0])
    assert np.abs(image.astype(int) - picture(0, 1)).mean() < 3


def write_sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_bytes(path, data):
    path.write_bytes(data)
    return path


def write_playlist(path):
    other = write_video(path.parent / "other.mp4", pictures(2))
    return write_bytes(path, f"ffconcat version 1.0\nfile {other.name}\n".encode())


def write_picture(path):
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(0, 1), format="rgb24")))
        container.mux(stream.encode())
    return path


def make_pipe(path):
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    "make",
    [
        write_sound,
        lambda path: write_bytes(path, b""),
        lambda path: write_bytes(path, bytes(100_000)),
        lambda path: write_bytes(path, write_video(path, pictures(9)).read_bytes()[:300]),
        write_playlist,
        write_picture,
        make_pipe,
    ],
    ids=["sound", "empty", "zeros", "head_only", "playlist", "picture", "pipe"],
)
def test_what_is_no_video(tmp_path, make):
    assert reason(make(tmp_path / "clip.mp4")) == "unreadable_video"


@pytest.mark.parametrize(
    "name", ["two words.mp4", "line\nbreak.mp4", "日本.mp4", "concat:a|b.mp4", "\udc80.mp4", "%03d.mp4"]
)
def test_names_are_but_names(tmp_path, name):
    path = tmp_path / name
    write_video(tmp_path / "plain.mp4", pictures(2)).rename(path)
    assert len(read(path)[1]) == 2


def test_absurd_sizes_and_lengths_are_refused_by_the_header(tmp_path, monkeypatch):
    path = write_video(tmp_path / "video.mp4", pictures(4))
    assert reason(path, max_pixels=WIDTH * HEIGHT - 1) == "too_large"
    assert reason(path, max_frames=3) == "too_long"
    assert read(path, max_pixels=WIDTH * HEIGHT, max_frames=4)[0].num_frames == 4
    monkeypatch.setattr(video_module, "_decode", lambda *_: pytest.fail("a frame was decoded"))
    with pytest.raises(BadVideoError, match="at most"):
        open_video(str(path), max_pixels=WIDTH * HEIGHT - 1, max_frames=4)


def test_strips_are_too_large_by_their_length(tmp_path):
    strip = [np.zeros((16, 400, 3), np.uint8)] * 2
    path = write_video(tmp_path / "strip.mp4", strip)
    assert reason(path, max_pixels=400 * 16) == "too_large"
    assert read(path, max_pixels=200 * 200)[0].width_px == 400


def test_a_larger_size_than_the_header_says_is_not_decoded(tmp_path):
    small = write(tmp_path / "0.ts", pictures(4), crf="4")
    large = write(tmp_path / "1.ts", [np.tile(image, (4, 4, 1)) for image in pictures(4)], crf="4")
    path = tmp_path / "both.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    _, images = read(path, max_pixels=2 * WIDTH * HEIGHT)
    assert images[0] is not None
    assert images[4:] == [None] * 4
