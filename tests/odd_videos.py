"""Encoders of odd videos, and ways to damage what they wrote; all small."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

Images = list[np.ndarray]
Encode = Callable[[Path, Images], None]
Damage = Callable[[Path], None]

RATE = 8
_MATRICES = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def encoder(
    codec: str,
    pixel_format: str,
    *,
    container: str = "mp4",
    rate: int = RATE,
    pts_ms: Callable[[int], int] | None = None,
    muxing: dict[str, str] | None = None,
    **options: str,
) -> Encode:
    """An encoder of RGB images; ``pts_ms`` gives each frame's time where it is not by the rate."""

    def encode(path: Path, images: Images) -> None:
        height, width = images[0].shape[:2]
        with av.open(str(path), "w", format=container, options={"fflags": "+bitexact", **(muxing or {})}) as output:
            stream = output.add_stream(codec, rate=rate, options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
            stream.codec_context.thread_count = 1
            if pts_ms is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            for i, image in enumerate(images):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                if pts_ms is not None:
                    frame.pts, frame.time_base = pts_ms(i), Fraction(1, 1000)
                output.mux(stream.encode(frame))
            output.mux(stream.encode())

    return encode


_X264 = {"crf": "12", "preset": "veryfast"}
h264 = encoder("libx264", "yuv420p", muxing={"movflags": "faststart"}, g="6", **_X264)
h264_index_last = encoder("libx264", "yuv420p", g="6", **_X264)
ffv1_avi = encoder("ffv1", "yuv420p", container="avi")


def damaged(encode: Encode, damage: Damage) -> Encode:
    """Encode, then damage the file."""

    def both(path: Path, images: Images) -> None:
        encode(path, images)
        damage(path)

    return both


def turned(degrees: int) -> Encode:
    """Stored so that it is upright only once it is turned clockwise, as its header says."""

    def encode(path: Path, images: Images) -> None:
        h264(path, [np.rot90(image, degrees // 90) for image in images])
        a, b, c, d = (65536 * x for x in _MATRICES[degrees])
        patch_after(path, b"tkhd", 40, struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30))

    return encode


def changing_size(path: Path, images: Images) -> None:
    """Two streams of MPEG-TS one after the other, as when a phone is turned."""
    h264_ts = encoder("libx264", "yuv420p", container="mpegts", **_X264)
    half = len(images) // 2
    other = path.with_name(path.name + ".other")
    h264_ts(path, images[:half])
    h264_ts(other, [np.ascontiguousarray(image[:96]) for image in images[half:]])
    with path.open("ab") as file:
        file.write(other.read_bytes())
    other.unlink()


def two_streams(path: Path, images: Images) -> None:
    """A second video, a sound and a subtitle beside the first video."""
    with av.open(str(path), "w", format="matroska", options={"fflags": "+bitexact"}) as output:
        videos = [output.add_stream("libx264", rate=RATE, options=_X264) for _ in range(2)]
        sound = output.add_stream("aac", rate=16000, layout="mono")
        for video in videos:
            video.height, video.width = images[0].shape[:2]
            video.pix_fmt = "yuv420p"
            video.codec_context.thread_count = 1
        for image in images:
            for video, pixels in zip(videos, (image, 255 - image), strict=True):
                output.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        _add_sound(output, sound)
        for stream in (*videos, sound):
            output.mux(stream.encode(None))


def sound_only(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=16000, layout="mono")
        _add_sound(output, stream)
        output.mux(stream.encode(None))


def _add_sound(output, stream) -> None:
    for i in range(16):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, 1024 * i, Fraction(1, 16000)
        output.mux(stream.encode(frame))


def gif(path: Path, images: Images) -> None:
    encoder("gif", "rgb8", container="gif")(path, [cv2.resize(image, (64, 64)) for image in images])


def cut(path: Path, share: float) -> None:
    """Keep the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])


def cut_data(path: Path, share: float) -> None:
    """Keep the index at the front and the first part of the pictures."""
    data = path.read_bytes()
    start = data.index(b"mdat") + 4
    path.write_bytes(data[: start + int(share * (len(data) - start))])


def garble(path: Path) -> None:
    """Random bytes in the middle of the pictures."""
    data = path.read_bytes()
    start = data.index(b"mdat")
    patch(path, start + (len(data) - start) // 2, np.random.default_rng(0).bytes(200))


def zero_data(path: Path) -> None:
    """Leave the index and nothing else."""
    data = path.read_bytes()
    start = data.index(b"mdat") + 4
    patch(path, start, bytes(len(data) - start))


def shuffle_flv_times(path: Path) -> None:
    """Exchange the time stamps of every third tag of a Flash video and the one after it."""
    data = bytearray(path.read_bytes())
    position, tags = 13, []
    while position + 11 < len(data):
        if data[position] == 9:
            tags.append(position)
        position += 15 + int.from_bytes(data[position + 1 : position + 4], "big")
    for one, other in zip(tags[1::3], tags[2::3], strict=False):
        a, b = (slice(tag + 4, tag + 8) for tag in (one, other))
        data[a], data[b] = data[b], data[a]
    path.write_bytes(data)


def patch(path: Path, offset: int, content: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[offset : offset + len(content)] = content
    path.write_bytes(data)


def patch_after(path: Path, name: bytes, offset: int, content: bytes) -> None:
    """Overwrite so many bytes after the end of a box's or chunk's first name."""
    patch(path, path.read_bytes().index(name) + len(name) + offset, content)
