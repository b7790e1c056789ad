import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from mas_ray.ingest.small_picture import box_means, small_picture, small_size


def scene(width, height):
    """Smooth colours, and stripes too fine for a small picture."""
    yy, xx = np.mgrid[:height, :width]
    red = 128 + 100 * np.sin(xx / width * 6)
    green = 128 + 60 * np.cos(yy / height * 5) + 40 * (xx // 2 % 2)
    blue = 60 + 120 * yy / height
    return np.stack([red, green, blue], axis=2).round().clip(0, 255).astype(np.uint8)


def small(image, pixel_format, size_px):
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixel_format)
    return small_picture(frame, size_px, VideoReformatter()), frame.to_ndarray(format="rgb24")


@pytest.mark.parametrize("box", [2, 4, 8])
@pytest.mark.parametrize("shape", [(48, 64), (51, 69), (48, 64, 3)])
def test_box_means_are_the_means_of_whole_boxes(box, shape):
    plane = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    height, width = shape[0] // box, shape[1] // box
    boxes = plane[: height * box, : width * box].reshape(height, box, width, box, -1)
    expected = np.floor(boxes.mean(axis=(1, 3)) + 0.5).reshape(height, width, *shape[2:])
    np.testing.assert_array_equal(box_means(plane, box), expected)


def test_box_means_of_white_are_white():
    for box in (2, 16, 32, 64):
        assert (box_means(np.full((64, 64), 255, np.uint8), box) == 255).all()


@pytest.mark.parametrize(
    "pixel_format", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "rgb24", "rgba", "nv12", "gray"]
)
@pytest.mark.parametrize(("width", "height"), [(640, 360), (602, 1078)])
def test_it_is_what_area_averages_give(pixel_format, width, height):
    picture, full = small(scene(width, height), pixel_format, 100)
    expected = cv2.resize(full, small_size(width, height, size_px=100), interpolation=cv2.INTER_AREA)
    assert picture.shape == expected.shape
    difference = np.abs(picture.astype(int) - expected)
    assert difference.mean() < 2.5
    assert np.percentile(difference, 99) <= 12


def test_small_frames_stay_as_they_are():
    picture, full = small(scene(64, 48), "yuv420p", 100)
    np.testing.assert_array_equal(picture, full)


def test_size():
    assert small_size(1920, 1080, size_px=256) == (455, 256)
    assert small_size(608, 1080, size_px=256) == (256, 455)
    assert small_size(100, 50, size_px=256) == (100, 50)
    assert small_size(100_000, 2, size_px=1) == (50_000, 1)
