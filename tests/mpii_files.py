"""Small MPII validation sets in exactly the layout that its users hand on."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import scipy.io

NUM_PEOPLE = 5
WIDTH, HEIGHT = 320, 240
HEAD_SIDES_PX = (12.0, 16.0)  # a head box whose diagonal is 20


def joints_px(person: int) -> np.ndarray:
    """MPII's 16, in its order, (0, 0) the centre of the first pixel: an upright figure."""
    legs = [[-12, 90], [-11, 50], [-10, 10], [10, 10], [11, 50], [12, 90]]
    trunk = [[0, 10], [0, -45], [0, -55], [0, -80]]
    arms = [[-40, -10], [-30, -25], [-20, -45], [20, -45], [30, -25], [40, -10]]
    return 0.9 * np.array([*legs, *trunk, *arms], dtype=np.float64) + [100.0 + 20 * person, 120.0]


def is_missing(person: int) -> np.ndarray:
    """The second person's wrists are not annotated."""
    missing = np.zeros(16, bool)
    missing[[10, 15]] = person == 1
    return missing


def write_mpii(root: Path, *, people: int = NUM_PEOPLE) -> Path:
    """Pictures, the list of people, and their head boxes; MATLAB's pixels begin with 1."""
    (root / "images").mkdir(parents=True)
    (root / "annot").mkdir()
    entries = []
    boxes = np.zeros((2, 2, people))
    for person in range(people):
        image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        for x, y in joints_px(person):
            cv2.circle(image, (round(x), round(y)), 9, (40, 120, 230), -1)
        cv2.imwrite(str(root / "images" / f"{person:09d}.jpg"), image)
        joints = np.where(is_missing(person)[:, None], -1.0, joints_px(person) + 1.0)
        entries.append(
            {
                "image": f"{person:09d}.jpg",
                "joints": joints.tolist(),
                "joints_vis": (~is_missing(person)).astype(int).tolist(),
                "center": (joints_px(person).mean(0) + 1.0).tolist(),
                "scale": 0.9,
            }
        )
        boxes[0, :, person] = joints_px(person)[9]
        boxes[1, :, person] = joints_px(person)[9] + HEAD_SIDES_PX
    (root / "annot" / "valid.json").write_text(json.dumps(entries))
    missing = np.stack([is_missing(person) for person in range(people)], axis=1)
    scipy.io.savemat(
        root / "annot" / "gt_valid.mat",
        {"headboxes_src": boxes, "jnt_missing": missing.astype(np.uint8), "pos_gt_src": np.zeros((16, 2, people))},
    )
    return root
