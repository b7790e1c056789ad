"""BVH: a skeleton of rigid bones and its rotations over time, as Blender and motion tools read them.

Centimetres, Y up. At rest the person stands upright, arms out to the sides, and looks along z. Bones are as long as in
the middle of the take's frames, so that a joint is where the poses have it only as far as these are a rigid body's.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64
from scipy.spatial.transform import Rotation

from mas_ray.reporting.pose_track import PoseTrack
from mas_ray.skeleton import Skeleton

_MM_PER_CM = 10.0
_REST = {
    "pelvis": (0.0, 0.0, 0.0),
    "right_hip": (-1.0, 0.0, 0.0),
    "right_knee": (0.0, -1.0, 0.0),
    "right_ankle": (0.0, -1.0, 0.0),
    "left_hip": (1.0, 0.0, 0.0),
    "left_knee": (0.0, -1.0, 0.0),
    "left_ankle": (0.0, -1.0, 0.0),
    "spine": (0.0, 1.0, 0.0),
    "thorax": (0.0, 1.0, 0.0),
    "neck": (0.0, 1.0, 0.0),
    "nose": (0.0, 0.8, 0.6),
    "head": (0.0, 0.8, -0.6),
    "left_shoulder": (1.0, 0.0, 0.0),
    "left_elbow": (1.0, 0.0, 0.0),
    "left_wrist": (1.0, 0.0, 0.0),
    "right_shoulder": (-1.0, 0.0, 0.0),
    "right_elbow": (-1.0, 0.0, 0.0),
    "right_wrist": (-1.0, 0.0, 0.0),
}
"""Where each joint lies from its parent, at rest."""
_ORDER = "ZXY"
"""Of the rotations, each about the axes that the one before has left."""


def bvh(track: PoseTrack, skeleton: Skeleton) -> str | None:
    """The file's text, a frame for every step of the track's rate; None if no frame has a whole pose.

    Frames between poses lie on a straight line between them. What comes before the first whole pose, or after the last,
    is left out.
    """
    whole = np.asarray(np.isfinite(track.joints_mm).all((1, 2)))
    if not whole.any():
        return None
    joints_cm = _evenly(track, whole) / _MM_PER_CM
    lengths_cm = [
        0.0 if parent < 0 else float(np.median(np.linalg.norm(joints_cm[:, joint] - joints_cm[:, parent], axis=-1)))
        for joint, parent in enumerate(skeleton.parents)
    ]
    offsets_cm = np.array(
        [np.array(_REST[joint]) * length for joint, length in zip(skeleton.joints, lengths_cm, strict=True)]
    )
    children = [[n for n, parent in enumerate(skeleton.parents) if parent == joint] for joint in range(len(lengths_cm))]
    root = skeleton.parents.index(-1)
    inner = _depth_first(root, children)
    channels = [joints_cm[:, root]]
    world: dict[int, Rotation] = {-1: Rotation.identity(len(joints_cm))}
    for joint in inner:
        above = world[skeleton.parents[joint]]
        world[joint] = _rotation(joints_cm, offsets_cm, joint, children[joint], above)
        # Quaternions of half turns have no unique angles; any are as good.
        channels.append((above.inv() * world[joint]).as_euler(_ORDER, degrees=True, suppress_warnings=True))
    text = io.StringIO()
    text.write("HIERARCHY\n")
    _write_joint(text, skeleton, offsets_cm, children, root, level=0)
    text.write(f"MOTION\nFrames: {len(joints_cm)}\nFrame Time: {1.0 / track.frames_per_s:.8f}\n")
    np.savetxt(text, np.concatenate(channels, axis=-1), fmt="%.6f")
    return text.getvalue()


def _evenly(track: PoseTrack, whole: Bool[np.ndarray, " frames"]) -> Float64[np.ndarray, "even joints 3"]:
    """The poses at even times."""
    times_s, joints_mm = track.times_s[whole], track.joints_mm[whole]
    num_frames = round((times_s[-1] - times_s[0]) * track.frames_per_s) + 1
    at_s = times_s[0] + np.arange(num_frames) / track.frames_per_s
    columns = joints_mm.reshape(len(joints_mm), -1).T
    evenly = np.stack([np.interp(at_s, times_s, column) for column in columns], axis=-1)
    return evenly.reshape(num_frames, *joints_mm.shape[1:])


def _depth_first(joint: int, children: Sequence[Sequence[int]]) -> list[int]:
    """The joints that turn, in the order of the file; those at the ends do not."""
    below = [inner for child in children[joint] for inner in _depth_first(child, children)]
    return [joint, *below] if children[joint] else []


def _rotation(
    joints_cm: Float64[np.ndarray, "frames joints 3"],
    offsets_cm: Float64[np.ndarray, "joints 3"],
    joint: int,
    children: Sequence[int],
    above: Rotation,
) -> Rotation:
    """How a joint's bones lie in the world: as its parent's frame, and turned no more than their directions need."""
    bones_cm = joints_cm[:, list(children)] - joints_cm[:, [joint]]
    rest_cm = offsets_cm[list(children)]
    if len(children) > 1:  # several bones fix it
        return Rotation.concatenate([Rotation.align_vectors(bones, rest_cm)[0] for bones in bones_cm])
    carried = above.apply(rest_cm[0])
    return _swing(carried, bones_cm[:, 0]) * above


def _swing(before: Float64[np.ndarray, "frames 3"], after: Float64[np.ndarray, "frames 3"]) -> Rotation:
    """The shortest rotations from some directions to others; none where either has no length."""
    axis = np.cross(before, after)
    sine, cosine = np.linalg.norm(axis, axis=-1), (before * after).sum(-1)
    opposite = (sine < 1e-9 * np.abs(cosine)) & (cosine < 0)
    across = np.cross(
        before, np.where(np.abs(before[:, :1]) < np.abs(before[:, 1:2]), [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    )
    axis = np.where(opposite[:, None], across, axis)
    length = np.linalg.norm(axis, axis=-1, keepdims=True)
    unit = np.divide(axis, length, out=np.zeros_like(axis), where=length > 0)
    return Rotation.from_rotvec(unit * np.arctan2(sine, cosine)[:, None])


def _write_joint(
    text: io.StringIO,
    skeleton: Skeleton,
    offsets_cm: Float64[np.ndarray, "joints 3"],
    children: Sequence[Sequence[int]],
    joint: int,
    *,
    level: int,
) -> None:
    pad = "  " * level
    x, y, z = offsets_cm[joint]
    below = children[joint]
    kind = f"ROOT {skeleton.joints[joint]}" if level == 0 else f"JOINT {skeleton.joints[joint]}"
    text.write(f"{pad}{kind}\n{pad}{{\n{pad}  OFFSET {x:.6f} {y:.6f} {z:.6f}\n")
    position = "Xposition Yposition Zposition " if level == 0 else ""
    text.write(f"{pad}  CHANNELS {6 if level == 0 else 3} {position}{' '.join(f'{axis}rotation' for axis in _ORDER)}\n")
    for child in below:
        if children[child]:
            _write_joint(text, skeleton, offsets_cm, children, child, level=level + 1)
        else:
            _write_end(text, offsets_cm[child], level=level + 1)
    text.write(f"{pad}}}\n")


def _write_end(text: io.StringIO, offset_cm: Float64[np.ndarray, " 3"], *, level: int) -> None:
    pad = "  " * level
    x, y, z = offset_cm
    text.write(f"{pad}End Site\n{pad}{{\n{pad}  OFFSET {x:.6f} {y:.6f} {z:.6f}\n{pad}}}\n")
