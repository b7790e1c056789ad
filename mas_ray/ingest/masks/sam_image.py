"""A frame as Segment Anything takes it: its longer side 1024 pixels long."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from PIL import Image

INPUT_SIZE_PX = 1024


def reduced_shape(height: int, width: int) -> tuple[int, int]:
    """Height and width of the reduced (or enlarged) frame."""
    scale = INPUT_SIZE_PX / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def reduced(image_rgb: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "rows columns 3"]:
    """The frame resized with the filter that the network was trained with, which is Pillow's; OpenCV has no such."""
    rows, columns = reduced_shape(*image_rgb.shape[:2])
    return np.asarray(Image.fromarray(image_rgb).resize((columns, rows), Image.Resampling.BILINEAR))
