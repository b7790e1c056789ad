"""Where the people stand: calibrated cameras on a ring, in a round room with a patterned floor and wall."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.rasteriser import pixel_rays
from mas_ray.corpora.take import Calibration

_RING_RADIUS_MM = (4000.0, 5000.0)
_CAMERA_HEIGHT_MM = (1200.0, 1700.0)
_AIM_HEIGHT_MM = 1000.0
_STATURE_MM = 1700.0
_ROOM_RADIUS_MM = 6500.0
_TEXTURE_SIZE = 512
_TEXTURE_PERIOD_MM = 4000.0


def random_cameras(config: SyntheticConfig, rng: np.random.Generator) -> dict[str, Calibration]:
    """Cameras around the origin, by name: evenly spread, then jittered in direction, distance, height and aim."""
    spread = 2 * np.pi / config.num_cameras
    start = rng.uniform(0, 2 * np.pi)
    return {
        f"cam{i + 1:02d}": _camera(config, start + spread * (i + rng.uniform(-0.1, 0.1)), rng)
        for i in range(config.num_cameras)
    }


def _camera(config: SyntheticConfig, azimuth: float, rng: np.random.Generator) -> Calibration:
    distance_mm = rng.uniform(*_RING_RADIUS_MM)
    position_mm = np.array([np.cos(azimuth), np.sin(azimuth), 0.0]) * distance_mm
    position_mm[2] = rng.uniform(*_CAMERA_HEIGHT_MM)
    aim_mm = np.array([0.0, 0.0, _AIM_HEIGHT_MM]) + rng.uniform(-40, 40, size=3)
    forward = (aim_mm - position_mm) / np.linalg.norm(aim_mm - position_mm)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right = right / np.linalg.norm(right)
    level = np.stack([right, np.cross(forward, right), forward])
    roll = rng.uniform(-0.03, 0.03)
    R = cv2.Rodrigues(np.array([0.0, 0.0, roll]))[0] @ level
    focal_px = config.person_height_fraction * config.height_px * distance_mm / _STATURE_MM
    centre_px = (np.array([config.width_px, config.height_px]) - 1) / 2 + rng.uniform(-3, 3, size=2)
    return Calibration(
        width_px=config.width_px,
        height_px=config.height_px,
        K=np.array([[focal_px, 0.0, centre_px[0]], [0.0, focal_px, centre_px[1]], [0.0, 0.0, 1.0]]),
        distortion=np.zeros(0),
        R=R,
        t_mm=-R @ position_mm,
    )


def random_room(
    cameras: dict[str, Calibration], rng: np.random.Generator
) -> dict[str, UInt8[np.ndarray, "height width 3"]]:
    """The empty room as each camera sees it, RGB. Its colours are dull: clothes stand out against most of it."""
    floor, wall = _texture(rng), _texture(rng)
    return {name: _room_from(camera, floor, wall) for name, camera in cameras.items()}


def _room_from(
    camera: Calibration, floor: Float32[np.ndarray, "size size 3"], wall: Float32[np.ndarray, "size size 3"]
) -> UInt8[np.ndarray, "height width 3"]:
    position = -camera.R.T @ camera.t_mm
    rays = pixel_rays(camera) @ camera.R  # world axes
    to_floor = np.where(rays[..., 2] < -1e-6, -position[2] / np.minimum(rays[..., 2], -1e-6), np.inf)
    # |position + s ray| = room radius, in plan; the camera is inside, so the positive root is the wall.
    a = (rays[..., :2] ** 2).sum(axis=-1)
    b = rays[..., :2] @ position[:2]
    to_wall = (-b + np.sqrt(b * b + a * (_ROOM_RADIUS_MM**2 - position[:2] @ position[:2]))) / a
    point = position + rays * np.minimum(to_floor, to_wall)[..., None]
    around_mm = np.arctan2(point[..., 1], point[..., 0]) * _ROOM_RADIUS_MM
    on_floor = _looked_up(floor, point[..., 0], point[..., 1])
    on_wall = _looked_up(wall, around_mm, point[..., 2])
    return np.where((to_floor < to_wall)[..., None], on_floor * 0.8, on_wall).astype(np.uint8)


def _looked_up(
    texture: Float32[np.ndarray, "size size 3"],
    x_mm: Float64[np.ndarray, "height width"],
    y_mm: Float64[np.ndarray, "height width"],
) -> Float32[np.ndarray, "height width 3"]:
    scale = len(texture) / _TEXTURE_PERIOD_MM
    x, y = (x_mm * scale).astype(np.float32), (y_mm * scale).astype(np.float32)
    return np.asarray(cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), dtype=np.float32)


def _texture(rng: np.random.Generator) -> Float32[np.ndarray, "size size 3"]:
    """A dull colour, mottled at several scales, with a few rectangles (doors, rugs, posters) on it."""
    size = _TEXTURE_SIZE
    image = np.tile(rng.uniform(95, 165) + rng.uniform(-14, 14, size=3), (size, size, 1)).astype(np.float32)
    for _ in range(6):
        x, y = rng.integers(0, size, size=2)
        width, height = rng.integers(size // 16, size // 3, size=2)
        image[y : y + height, x : x + width] += (rng.uniform(-40, 40) + rng.uniform(-10, 10, size=3)).astype(np.float32)
    for cells, strength in ((8, 12.0), (32, 9.0), (128, 7.0)):
        noise = rng.uniform(-strength, strength, size=(cells, cells, 1)).astype(np.float32)
        image += cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)[..., None]
    return image.clip(20, 235)
