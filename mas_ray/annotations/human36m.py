"""Human3.6M's poses in the world: ``D3_Positions`` files of its release, or text files of its preprocessed copy."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cdflib
import numpy as np
from jaxtyping import Float64

from mas_ray.annotations import ReferenceJoints
from mas_ray.skeleton import H36M_18

_NUM_JOINTS = 32
_JOINTS = {
    "pelvis": 0,
    "right_hip": 1,
    "right_knee": 2,
    "right_ankle": 3,
    "left_hip": 6,
    "left_knee": 7,
    "left_ankle": 8,
    "spine": 12,
    "neck": 13,
    "nose": 14,
    "head": 15,
    "left_shoulder": 17,
    "left_elbow": 18,
    "left_wrist": 19,
    "right_shoulder": 25,
    "right_elbow": 26,
    "right_wrist": 27,
}
"""Of the 32 of the release, which has several twice. The thorax is the middle of the shoulders."""
_NO_SUCH_FILE = (OSError, ValueError, TypeError, KeyError, IndexError, OverflowError, struct.error, zlib.error)
"""What cdflib makes of files of another kind, and of those whose download was cut off."""


def read(path: Path) -> ReferenceJoints:
    """The 18 joints of a ``D3_Positions`` file, frame k of which is frame k of the videos.

    Raises:
        ValueError: It is no such file; the message names it.
    """
    try:
        poses = np.asarray(cdflib.CDF(path).varget("Pose"), dtype=np.float64)
    except _NO_SUCH_FILE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: expected a CDF file with poses in Pose: {reason}") from None
    if poses.ndim < 2 or poses.shape[-1] != 3 * _NUM_JOINTS or poses.size != poses.shape[-2] * poses.shape[-1]:
        raise ValueError(f"{path}: Pose: expected frames x {3 * _NUM_JOINTS} numbers, got {poses.shape}")
    return _ours(poses.reshape(-1, _NUM_JOINTS, 3))


def read_text(path: Path) -> ReferenceJoints:
    """The 18 joints of the ``matlab_meta.txt`` of a preprocessed copy: the same poses, a line for each frame.

    Its first line is the number of frames; its ninth has the numbers of 17 joints, counted from 1; the poses follow.

    Raises:
        ValueError: It is no such file; the message names it.
    """
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        num_frames, joints = int(float(lines[0][0])), [int(float(word)) for word in lines[8][-len(_JOINTS) :]]
        rows = [[float(word) for word in words[-3 * _NUM_JOINTS :]] for words in lines[9 : 9 + num_frames]]
        poses = np.array(rows, dtype=np.float64)
    except (OSError, ValueError, IndexError) as error:
        raise ValueError(f"{path}: expected frames, a camera, joints and poses, line by line: {error}") from None
    if joints != [number + 1 for number in _JOINTS.values()]:
        raise ValueError(f"{path}: line 9: expected the numbers of the 17 joints, got {joints}")
    if poses.shape != (num_frames, 3 * _NUM_JOINTS):
        raise ValueError(f"{path}: expected {num_frames} lines of {3 * _NUM_JOINTS} numbers, got {poses.shape}")
    return _ours(poses.reshape(-1, _NUM_JOINTS, 3))


def _ours(positions_mm: Float64[np.ndarray, "frames 32 3"]) -> ReferenceJoints:
    thorax_mm = positions_mm[:, [_JOINTS["left_shoulder"], _JOINTS["right_shoulder"]]].mean(1)
    joints_mm = np.stack(
        [thorax_mm if joint == "thorax" else positions_mm[:, _JOINTS[joint]] for joint in H36M_18.joints], axis=1
    )
    return ReferenceJoints(
        instants=np.arange(len(joints_mm), dtype=np.int64),
        joints_world_mm=joints_mm,
        valid=np.asarray(np.isfinite(joints_mm).all(-1)),
        source="Human3.6M motion capture",
    )
