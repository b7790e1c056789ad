"""Small sequences in exactly the layout of the TikTok dataset."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from stick_people import looking_at_the_middle, picture, pose_mm

WIDTH, HEIGHT, NUM_FRAMES, NUM_SKIPPED = 120, 208, 48, 20
SEQUENCES = ("00034", "00035", "00326")
_CENTRE_MM = np.array([3900.0, 700.0, 1200.0])


def write_release(root: Path, *, sequences: tuple[str, ...] = SEQUENCES, masks: bool = True) -> Path:
    """A tall phone picture for every frame, and whose mask is grey where it is soft."""
    for turn, sequence in enumerate(sequences):
        for part in ("images", "masks") if masks else ("images",):
            (root / sequence / part).mkdir(parents=True)
        for frame in range(NUM_FRAMES):
            image, mask = seen(frame, turn=turn)
            cv2.imwrite(str(root / sequence / "images" / f"{frame + 1:04d}.png"), image[..., ::-1])
            if masks:
                soft = cv2.GaussianBlur(np.where(mask, 255, 0).astype(np.uint8), (3, 3), 0)
                cv2.imwrite(str(root / sequence / "masks" / f"{frame + 1:04d}.png"), soft)
    return root


def seen(frame: int, *, turn: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture and the exact mask of a frame."""
    rotation = looking_at_the_middle(_CENTRE_MM)

    def project(points_mm: np.ndarray) -> np.ndarray:
        x, y, z = rotation @ (points_mm - _CENTRE_MM).T
        return np.stack([230 * x / z + WIDTH / 2, 230 * y / z + HEIGHT / 2], axis=-1)

    wiggle = 0.2 * np.sin(frame / 3)
    return picture(pose_mm(0, turn=turn + wiggle), project, width=WIDTH, height=HEIGHT)
