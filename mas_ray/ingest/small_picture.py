"""Small pictures of large frames: whole boxes of the decoder's own planes first, colours last.

Averaging 2x2, 4x4, ... boxes of the planes is a few additions per pixel; a resize by a fractional factor, or a
conversion of the colours before it, costs more than the decoder. What is left, a factor below 2, is bilinear.
"""

# Imported by the decoder process, whose start is paid for every clip: av and numpy only.

from __future__ import annotations

from typing import Any, cast

import av
import numpy as np
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter

_PLANAR_8_BIT = {"gray", "yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p"}


def small_size(width_px: int, height_px: int, *, size_px: int) -> tuple[int, int]:
    """Width and height of the picture whose shorter side is ``size_px``; never larger than the frame."""
    scale = min(1.0, size_px / min(width_px, height_px))
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))


def small_picture(frame: av.VideoFrame, size_px: int, reformatter: VideoReformatter) -> np.ndarray:
    """The frame as RGB (height, width, 3) uint8, not yet rotated, its shorter side ``size_px`` at most.

    Less than a box at the right and lower edges, below 1 % of the picture, is left out where the size is not a
    multiple of the boxes.
    """
    width, height = small_size(frame.width, frame.height, size_px=size_px)
    box = _box(frame, size_px)
    if box > 1:
        frame = _reduced(frame, box, reformatter)
    return reformatter.reformat(frame, width=width, height=height, format="rgb24", threads=1).to_ndarray()


def box_means(plane: np.ndarray, box: int) -> np.ndarray:
    """The rounded means of whole boxes of a (height, width[, channels]) uint8 array; ``box`` is a power of 2."""
    height, width = plane.shape[0] // box, plane.shape[1] // box
    plane = plane[: height * box, : width * box]
    rows = plane[0::box].astype(np.uint16)
    for i in range(1, box):
        rows += plane[i::box]
    sums = rows[:, 0::box].astype(np.uint16 if box <= 16 else np.uint32)  # 16 * 16 * 255 is below 2 ** 16
    for i in range(1, box):
        sums += rows[:, i::box]
    return ((sums + box * box // 2) >> 2 * (box.bit_length() - 1)).astype(np.uint8)


def _box(frame: av.VideoFrame, size_px: int) -> int:
    """The largest power of 2 by which the frame stays at least as large as the picture."""
    return 1 << max(1, min(frame.width, frame.height) // size_px).bit_length() - 1


def _reduced(frame: av.VideoFrame, box: int, reformatter: VideoReformatter) -> av.VideoFrame:
    """The frame with every box one pixel: in its own format if that is of 8-bit planes, otherwise in RGB."""
    if frame.format.name not in _PLANAR_8_BIT:
        rgb = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
        return av.VideoFrame.from_ndarray(box_means(rgb, box), format="rgb24")
    # Even sizes: the reduced colour planes are then exactly half of the reduced brightness.
    reduced = av.VideoFrame(frame.width // (2 * box) * 2, frame.height // (2 * box) * 2, frame.format.name)
    for source, target in zip(frame.planes, reduced.planes, strict=True):
        means = box_means(_pixels(source), box)
        _pixels(target)[:] = means[: target.height, : target.width]
    reduced.colorspace, reduced.color_range = frame.colorspace, frame.color_range
    return reduced


def _pixels(plane: VideoPlane) -> np.ndarray:
    """A plane as (height, width), without the padding of its rows; shares its memory."""
    lines = np.asarray(memoryview(cast(Any, plane)), np.uint8).reshape(-1, plane.line_size)
    return lines[: plane.height, : plane.width]
