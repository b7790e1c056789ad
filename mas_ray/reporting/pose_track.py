"""PoseTrack: the poses of one take over time, with Y up, as other programs want them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from mas_ray.config.predict import Axis

_CAMERA_UP: Axis = "-y"


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseTrack:
    """Joints in a right-handed frame with Y up."""

    instants: Int64[np.ndarray, " frames"]
    """Frame numbers in the source video, rising."""
    times_s: Float64[np.ndarray, " frames"]
    joints_mm: Float64[np.ndarray, "frames joints 3"]
    """NaN where there is none."""

    @property
    def frames_per_s(self) -> float:
        """The rate at which most instants follow each other; 30 if there is but one."""
        steps = np.diff(self.times_s)
        return float(1.0 / np.median(steps)) if len(steps) else 30.0


def pose_track(rows: Sequence[Mapping[str, Any]], *, world_up: Axis, num_joints: int) -> PoseTrack | None:
    """The poses of one take's rows (``reporting.poses``); None if there are none.

    In the world where the take was triangulated; otherwise those of its first view that has any, about the root.

    Args:
        rows: Of one take, in order.
        world_up: Which axis of the world points up.
        num_joints: Of the skeleton.
    """
    world = [row["joints_world_mm"] for row in rows]
    if any(joints is not None for joints in world):
        return _track(rows, world, world_up, num_joints)
    for name in sorted({view["name"] for row in rows for view in row["views"]}):
        of_view = [
            next((view["joints_camera_mm"] for view in row["views"] if view["name"] == name), None) for row in rows
        ]
        if any(joints is not None for joints in of_view):
            return _track(rows, of_view, _CAMERA_UP, num_joints)
    return None


def y_up(points: Float64[np.ndarray, "*batch 3"], up: Axis) -> Float64[np.ndarray, "*batch 3"]:
    """The points after the rotation, by quarter turns, that makes ``up`` the second axis.

    An up of z makes (x, y, z) into (y, z, x), as Pose2Sim writes its TRC files.
    """
    middle = "xyz".index(up[-1])
    order = [(middle - 1) % 3, middle, (middle + 1) % 3]
    signs = np.array([1.0, -1.0, -1.0] if up.startswith("-") else [1.0, 1.0, 1.0])
    return np.asarray(points[..., order] * signs)


def _track(rows: Sequence[Mapping[str, Any]], joints: Sequence[Any], up: Axis, num_joints: int) -> PoseTrack:
    nowhere = np.full((num_joints, 3), np.nan)
    points = np.array([nowhere if pose is None else pose for pose in joints], dtype=np.float64)
    return PoseTrack(
        instants=np.array([row["instant"] for row in rows], dtype=np.int64),
        times_s=np.array([row["timestamp_s"] for row in rows], dtype=np.float64),
        joints_mm=y_up(points, up),
    )
