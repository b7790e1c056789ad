"""Small frames for the tests of curation: a textured room in which a bright figure moves."""

from __future__ import annotations

import cv2
import numpy as np

HEIGHT, WIDTH = 90, 160


def room(seed: int, width: int = WIDTH) -> np.ndarray:
    """Walls and furniture of random shapes, in light and dark shades of the room's own colour."""
    rng = np.random.default_rng(seed)
    colour = rng.uniform(0.3, 1.0, 3)
    shades = cv2.resize(
        rng.uniform(30, 190, (6, 10 * width // WIDTH)), (width, HEIGHT), interpolation=cv2.INTER_NEAREST
    )
    return (shades[..., None] * colour).astype(np.uint8)


def scene(num: int, *, seed: int = 0, background: int = 0) -> list[np.ndarray]:
    """Frames of a figure that walks a random path of its own (``seed``) through a room (``background``)."""
    rng = np.random.default_rng(100 + seed)
    starts, speeds = rng.uniform(0, 2 * np.pi, 3), rng.uniform(0.6, 3.0, 3)
    frames = []
    for i in range(num):
        swing = np.sin(2 * np.pi * speeds * i / num + starts)
        x, y = WIDTH / 2 + 60 * swing[0], HEIGHT / 2 + 18 * swing[1]
        frame = room(background).copy()
        cv2.ellipse(frame, (round(x), round(y)), (7, 22), 40 * swing[2], 0, 360, (250, 240, 90), -1)
        frames.append(frame)
    return frames


def brighter(frame: np.ndarray, levels: int) -> np.ndarray:
    """The frame with all levels raised."""
    return np.clip(frame.astype(int) + levels, 0, 255).astype(np.uint8)
