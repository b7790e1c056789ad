"""A person made of sticks in front of a dull wall: for fixtures in the layouts of official releases."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from mas_ray.skeleton import H36M_18

HEAD_RGB, LEFT_WRIST_RGB, RIGHT_ANKLE_RGB = (255, 40, 40), (40, 255, 40), (60, 60, 255)
MARKED = {"head": HEAD_RGB, "left_wrist": LEFT_WRIST_RGB, "right_ankle": RIGHT_ANKLE_RGB}
_STANDING_MM = {
    "pelvis": (0, 0, 950), "spine": (0, 0, 1190), "thorax": (0, 0, 1450), "neck": (0, 0, 1480),
    "nose": (70, 0, 1570), "head": (20, 0, 1690),
    "left_hip": (0, 130, 950), "left_knee": (60, 140, 520), "left_ankle": (0, 150, 90),
    "left_shoulder": (0, 190, 1450), "left_elbow": (20, 420, 1430), "left_wrist": (140, 640, 1420),
    "right_hip": (0, -130, 950), "right_knee": (30, -140, 520), "right_ankle": (0, -150, 90),
    "right_shoulder": (0, -190, 1450), "right_elbow": (0, -330, 1220), "right_wrist": (120, -360, 1010),
}  # fmt: skip
Project = Callable[[np.ndarray], np.ndarray]


def pose_mm(frame: int, *, turn: float = 0.0) -> np.ndarray:
    """The 18 joints, somebody who walks on slowly, z up."""
    standing = np.array([_STANDING_MM[joint] for joint in H36M_18.joints], dtype=np.float64)
    angle = turn + 0.05 * frame
    c, s = np.cos(angle), np.sin(angle)
    return standing @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + (40.0 * frame, -25.0 * frame, 0.0)


def looking_at_the_middle(centre_mm: np.ndarray) -> np.ndarray:
    """camera_from_world of a camera that looks at a point a metre above the origin."""
    forward = np.array([0.0, 0.0, 1000.0]) - centre_mm
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def picture(joints_mm: np.ndarray, project: Project, *, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """What a camera sees, RGB, and who is the person in it; ``project`` gives pixels of world positions."""
    image = np.full((height, width, 3), 70, np.uint8)
    mask = np.zeros((height, width), np.uint8)
    px = project(joints_mm)
    thickness = max(3, round(np.linalg.norm(px[H36M_18.index("head")] - px[H36M_18.index("left_ankle")]) / 14))
    for joint, parent in enumerate(H36M_18.parents):
        if parent >= 0:
            for canvas, value in ((image, (200, 190, 180)), (mask, (255,))):
                cv2.line(canvas, _point(px[parent]), _point(px[joint]), value, thickness, cv2.LINE_8, 4)
    for name, rgb in MARKED.items():
        for canvas, value in ((image, rgb), (mask, (255,))):
            radius = max(3, thickness // 2)
            cv2.circle(canvas, _point(px[H36M_18.index(name)]), radius << 4, value, -1, cv2.LINE_8, 4)
    return image, mask > 0


def found_px(image: np.ndarray, rgb: tuple[int, int, int]) -> np.ndarray:
    """Where a marked joint is in a picture, by its colour alone."""
    near = np.abs(image.astype(int) - rgb).max(-1) < 60
    rows, columns = np.nonzero(near)
    return np.array([columns.mean(), rows.mean()])


def _point(px: np.ndarray) -> tuple[int, int]:
    x, y = (px * 16).round().astype(int).tolist()
    return x, y
