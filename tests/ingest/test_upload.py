"""What strangers send: taken within limits, refused with a reason otherwise."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from moving_square import HEIGHT, WIDTH, picture, write_video
from PIL import Image

from mas_ray.ingest.upload import RefusedUploadError, decode_clip, decode_picture

PIXELS = 1_000_000
CLIP = {"max_pixels": PIXELS, "max_frames": 20, "max_pixels_in_all": 20 * PIXELS}


def encoded(image: np.ndarray, kind: str = "PNG", **more) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **more)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pictures_come_back(kind):
    image = picture(4, 1)
    frames = decode_picture(encoded(image, kind, quality=95), max_pixels=PIXELS)
    (found,) = frames.images
    assert found.shape == image.shape
    assert np.abs(found.astype(int) - image).mean() < 3
    assert frames.times_s.tolist() == [0.0]


def test_a_picture_is_turned_upright():
    image = picture(4, 1)
    turned = Image.fromarray(image)
    exif = turned.getexif()
    exif[0x0112] = 6  # the camera was held on its side
    file = io.BytesIO()
    turned.save(file, "PNG", exif=exif)
    (found,) = decode_picture(file.getvalue(), max_pixels=PIXELS).images
    np.testing.assert_array_equal(found, np.rot90(image, -1))


def test_grey_and_transparent_pictures_are_rgb():
    grey = np.full((8, 6), 77, np.uint8)
    (found,) = decode_picture(encoded(grey), max_pixels=PIXELS).images
    np.testing.assert_array_equal(found, np.full((8, 6, 3), 77, np.uint8))
    (found,) = decode_picture(encoded(np.full((8, 6, 4), 77, np.uint8)), max_pixels=PIXELS).images
    assert found.shape == (8, 6, 3)


def huge_png(width: int, height: int) -> bytes:
    """A header that claims so many pixels, and none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))


@pytest.mark.parametrize(
    ("data", "message", "is_too_large"),
    [
        (b"", "expected a picture", False),
        (b"<svg/>", "expected a picture", False),
        (encoded(picture(0, 0), "GIF"), "expected a picture", False),
        (encoded(picture(0, 0), "PNG")[:200], "the picture does not decode", False),
        (encoded(np.zeros((1001, 1000, 3), np.uint8)), "1000 x 1001 pixels, at most 1,000,000", True),
        (huge_png(60_000, 60_000), "the picture has more than 1,000,000 pixels", True),
    ],
    ids=["empty", "svg", "gif", "cut off", "large", "bomb"],
)
def test_pictures_that_are_refused(data, message, is_too_large):
    with pytest.raises(RefusedUploadError, match=message) as caught:
        decode_picture(data, max_pixels=PIXELS)
    assert caught.value.is_too_large == is_too_large


def test_clips_come_back(tmp_path):
    frames = decode_clip(write_video(tmp_path / "a.mp4", [picture(n, 1) for n in range(10)]), **CLIP)
    assert len(frames.images) == 10
    assert frames.images[3].shape == (HEIGHT, WIDTH, 3)
    assert frames.times_s.tolist() == pytest.approx([n / 25 for n in range(10)])


@pytest.mark.parametrize(
    ("limits", "message", "is_too_large"),
    [
        ({"max_frames": 9}, "too_long", True),
        ({"max_pixels": 5000}, "too_large", True),
        ({"max_pixels_in_all": 9 * HEIGHT * WIDTH}, "10 frames of 96 x 72 pixels, at most 62,208", True),
    ],
)
def test_clips_that_are_too_large(tmp_path, limits, message, is_too_large):
    video = write_video(tmp_path / "a.mp4", [picture(n, 1) for n in range(10)])
    with pytest.raises(RefusedUploadError, match=message) as caught:
        decode_clip(video, **(CLIP | limits))
    assert caught.value.is_too_large == is_too_large


@pytest.mark.parametrize("data", [b"", b"#EXTM3U\nhttp://127.0.0.1:9/x.ts\n", b"\0\0\0\x18ftypmp42" + bytes(5000)])
def test_clips_that_are_none(tmp_path, data):
    (tmp_path / "a.clip").write_bytes(data)
    with pytest.raises(RefusedUploadError, match="the clip cannot be used") as caught:
        decode_clip(tmp_path / "a.clip", **CLIP)
    assert not caught.value.is_too_large
