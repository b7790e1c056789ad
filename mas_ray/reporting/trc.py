"""TRC: marker positions over time, as OpenSim, Pose2Sim and Blender's add-ons read them. Metres, Y up."""

from __future__ import annotations

import math

from mas_ray.reporting.pose_track import PoseTrack
from mas_ray.skeleton import Skeleton

_MM_PER_M = 1000.0
_SIDES = {"left": "L", "right": "R"}


def trc(track: PoseTrack, skeleton: Skeleton, name: str) -> str:
    """The file's text. Joints that are nowhere are ``nan``: readers that split at blanks would shift what follows gaps.

    Args:
        track: The poses.
        skeleton: Of them.
        name: The file's name, which the format repeats inside.
    """
    markers = [marker_name(joint) for joint in skeleton.joints]
    rate, num_frames = f"{track.frames_per_s:.6g}", len(track.instants)
    first = track.instants[0] if num_frames else 0
    header = [
        ["PathFileType", "4", "(X/Y/Z)", name],
        ["DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units", *(f"OrigData{what}" for what in _ORIGINAL)],
        [rate, rate, str(num_frames), str(len(markers)), "m", rate, str(first), str(num_frames)],
        ["Frame#", "Time", *(cell for marker in markers for cell in (marker, "", ""))],
        ["", "", *(f"{axis}{n}" for n in range(1, len(markers) + 1) for axis in "XYZ")],
    ]
    rows = [
        [str(instant), f"{time_s:.6f}", *(_cell(value) for value in joints.flatten().tolist())]
        for instant, time_s, joints in zip(track.instants, track.times_s, track.joints_mm, strict=True)
    ]
    return "".join("\t".join(cells) + "\n" for cells in [*header, *rows])


def marker_name(joint: str) -> str:
    """A joint as Pose2Sim calls its marker: ``left_hip`` is ``LHip``, ``pelvis`` is ``Hip``."""
    if joint == "pelvis":
        return "Hip"
    side, _, part = joint.rpartition("_")
    return _SIDES.get(side, "") + part.capitalize()


_ORIGINAL = ("Rate", "StartFrame", "NumFrames")
"""What the format's second line calls the rate, the first frame and the number of frames of the source."""


def _cell(value_mm: float) -> str:
    return "nan" if math.isnan(value_mm) else f"{value_mm / _MM_PER_M:.6f}"
