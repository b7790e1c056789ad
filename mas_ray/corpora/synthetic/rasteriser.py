"""A z-buffer of round cones (the hull of two spheres): all that the synthetic people are made of.

It shares nothing with ``rendering``, whose skeleton masks are to be judged against what is drawn here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from mas_ray.corpora.take import Calibration

_AMBIENT = 0.55
_NOTHING = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class RoundCones:
    """Round cones in some frame, millimetres, each of one colour. Equal ends make a sphere."""

    start_mm: Float64[np.ndarray, "cones 3"]
    end_mm: Float64[np.ndarray, "cones 3"]
    start_radius_mm: Float64[np.ndarray, " cones"]
    end_radius_mm: Float64[np.ndarray, " cones"]
    rgb: Float64[np.ndarray, "cones 3"]
    """0 to 1, unlit."""

    def seen_by(self, calibration: Calibration) -> RoundCones:
        """World cones in a camera's frame."""
        return RoundCones(
            start_mm=self.start_mm @ calibration.R.T + calibration.t_mm,
            end_mm=self.end_mm @ calibration.R.T + calibration.t_mm,
            start_radius_mm=self.start_radius_mm,
            end_radius_mm=self.end_radius_mm,
            rgb=self.rgb,
        )


def pixel_rays(calibration: Calibration) -> Float64[np.ndarray, "height width 3"]:
    """Unit directions through the pixel centres, camera frame. The camera must be free of distortion."""
    u = (np.arange(calibration.width_px) - calibration.K[0, 2]) / calibration.K[0, 0]
    v = (np.arange(calibration.height_px) - calibration.K[1, 2]) / calibration.K[1, 1]
    rays = np.stack([*np.meshgrid(u, v), np.ones((len(v), len(u)))], axis=-1)
    return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


def draw(
    cones: RoundCones,
    rays: Float64[np.ndarray, "height width 3"],
    *,
    K: Float64[np.ndarray, "3 3"],
    light: Float64[np.ndarray, " 3"],
    background: UInt8[np.ndarray, "height width 3"],
) -> tuple[UInt8[np.ndarray, "height width 3"], Bool[np.ndarray, "height width"]]:
    """Draw cones over a background.

    Args:
        cones: What to draw, in the camera's frame, before the camera by more than their radii.
        rays: ``pixel_rays`` of the camera.
        K: Its intrinsics.
        light: Unit vector towards the light, camera frame.
        background: RGB.

    Returns:
        The RGB image, and the mask of the pixels whose centre sees a cone.
    """
    depth_mm, owner = _nearest(cones, rays, K)
    mask = owner != _NOTHING
    hit = owner[mask]
    normal = _normals(cones, hit, rays[mask] * depth_mm[mask][:, None])
    shade = _AMBIENT + (1 - _AMBIENT) * (normal @ light).clip(min=0.0)
    image = background.copy()
    image[mask] = np.rint(255 * cones.rgb[hit] * shade[:, None]).astype(np.uint8)
    return image, mask


def _nearest(
    cones: RoundCones, rays: Float64[np.ndarray, "height width 3"], K: Float64[np.ndarray, "3 3"]
) -> tuple[Float64[np.ndarray, "height width"], Int64[np.ndarray, "height width"]]:
    """Distance along each ray to the first cone, and which cone that is."""
    depth_mm = np.full(rays.shape[:2], np.inf)
    owner = np.full(rays.shape[:2], _NOTHING)
    for i, (left, top, right, bottom) in enumerate(_boxes(cones, K, *rays.shape[:2])):
        box = (slice(top, bottom), slice(left, right))
        distance_mm = _first_hit(
            rays[box], cones.start_mm[i], cones.end_mm[i], cones.start_radius_mm[i], cones.end_radius_mm[i]
        )
        nearer = distance_mm < depth_mm[box]
        np.copyto(depth_mm[box], distance_mm, where=nearer)
        np.copyto(owner[box], i, where=nearer)
    return depth_mm, owner


def _boxes(cones: RoundCones, K: Float64[np.ndarray, "3 3"], height: int, width: int) -> Int64[np.ndarray, "cones 4"]:
    """A pixel box (left, top, right, bottom; the last two exclusive) around each cone's picture.

    The picture of a cone lies within the pictures of the cubes around its two spheres.
    """
    centre = np.stack([cones.start_mm, cones.end_mm])
    radius = np.stack([cones.start_radius_mm, cones.end_radius_mm])[..., None]
    near, far = centre[..., 2:] - radius, centre[..., 2:] + radius
    low, high = centre[..., :2] - radius, centre[..., :2] + radius
    focal, middle, size = np.diag(K)[:2], K[:2, 2], np.array([width, height])
    first = np.floor(np.minimum(low / near, low / far).min(axis=0) * focal + middle).clip(0, size)
    last = np.ceil(np.maximum(high / near, high / far).max(axis=0) * focal + middle + 1).clip(0, size)
    return np.concatenate([first, last], axis=-1).astype(np.int64)


def _first_hit(
    rays: Float64[np.ndarray, "height width 3"],
    start: Float64[np.ndarray, " 3"],
    end: Float64[np.ndarray, " 3"],
    start_radius: float,
    end_radius: float,
) -> Float64[np.ndarray, "height width"]:
    """Distance from the origin along unit rays to a round cone; infinite where they miss it.

    The side is a quadric whose tangent circles on the two spheres bound it; beyond them the spheres are the surface.
    """
    axis, taper = end - start, start_radius - end_radius
    along, to_start, to_end = rays @ axis, rays @ start, rays @ end
    with np.errstate(divide="ignore", invalid="ignore"):  # a sphere has no side: its root is not a number
        slant = axis @ axis - taper * taper
        offset = axis @ start
        a = slant - along * along
        b = offset * along - slant * to_start + taper * start_radius * along
        c = slant * (start @ start) - offset * offset - 2 * taper * start_radius * offset
        c = c - (axis @ axis) * start_radius * start_radius
        side = (-b - np.sqrt(b * b - a * c)) / a
        height = side * along - offset - start_radius * taper
        on_start = to_start - np.sqrt(to_start * to_start - start @ start + start_radius * start_radius)
        on_end = to_end - np.sqrt(to_end * to_end - end @ end + end_radius * end_radius)
    caps = np.fmin(on_start, on_end)
    hit = np.where((height > 0) & (height < slant), side, caps)
    return np.nan_to_num(hit, nan=np.inf)


def _normals(
    cones: RoundCones, index: Int64[np.ndarray, " pixels"], points_mm: Float64[np.ndarray, "pixels 3"]
) -> Float64[np.ndarray, "pixels 3"]:
    """Unit normals of the cones ``index`` at points on their surfaces."""
    axis = (cones.end_mm - cones.start_mm)[index]
    taper = (cones.start_radius_mm - cones.end_radius_mm)[index]
    from_start = points_mm - cones.start_mm[index]
    slant = np.maximum((axis * axis).sum(axis=-1) - taper * taper, 1e-9)
    # The sphere whose tangent circle passes through the point: its centre is this share along the axis.
    share = ((axis * from_start).sum(axis=-1) - cones.start_radius_mm[index] * taper) / slant
    normal = from_start - share.clip(0.0, 1.0)[:, None] * axis
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True)
