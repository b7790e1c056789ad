"""Reference joints of MPI-INF-3DHP: ``annot.mat`` of a training sequence, ``annot_data.mat`` of a test sequence.

Both give joints in the coordinates of each camera, in millimetres (``annot3``; ``univ_annot3``, of people scaled to
one height, is not read), by the markerless tracking of The Captury. The cameras beside them lead into the world;
that of a test sequence is its camera's coordinates.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Bool, Float64
from scipy.io import loadmat

from mas_ray.annotations import ReferenceJoints
from mas_ray.mpi_inf_3dhp_cameras import StudioCamera, read_studio_cameras
from mas_ray.skeleton import H36M_18

SOURCE = "MPI-INF-3DHP annot3 (markerless tracking)"
CAMERAS = (0, 2, 4, 7, 8)
"""Those that every joint of a frame must be in the pictures of, as in the authors' released evaluation."""
WRONG_FRAMES = {("S4", "Seq2"): range(3759, 5853)}
"""By subject and sequence: left and right are exchanged there, as others have found; left out."""

TRAINING_JOINTS = (
    *("spine3", "spine4", "spine2", "spine", "pelvis", "neck", "head", "head_top"),
    *("left_clavicle", "left_shoulder", "left_elbow", "left_wrist", "left_hand"),
    *("right_clavicle", "right_shoulder", "right_elbow", "right_wrist", "right_hand"),
    *("left_hip", "left_knee", "left_ankle", "left_foot", "left_toe"),
    *("right_hip", "right_knee", "right_ankle", "right_foot", "right_toe"),
)
TEST_JOINTS = (
    *("head_top", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "pelvis", "spine", "head"),
)
OTHER_NAMES = {"spine": "spine2", "thorax": "spine4", "nose": "head", "head": "head_top"}
"""Ours by theirs, where they differ. Their ``spine`` lies lower than ours; the test set has neither of ours."""

_FARTHEST_PX = 2.0
_FARTHEST_MM = 30.0


def read(path: Path) -> ReferenceJoints:
    """Read the joints of one sequence.

    Of a training sequence, frames in which a joint leaves one of the pictures of ``CAMERAS`` are left out, and
    ``WRONG_FRAMES``; of a test sequence, those that are not ``valid_frame``.

    Raises:
        ValueError: The file is not what its name says, or does not fit the cameras beside it; one line names it.
    """
    return _read_test(path) if path.name == "annot_data.mat" else _read_training(path)


def _read_training(path: Path) -> ReferenceJoints:
    try:
        content = loadmat(path, variable_names=["annot2", "annot3", "cameras", "frames"])
        numbers = np.asarray(content["cameras"]).ravel().astype(np.int64).tolist()
        frames = np.asarray(content["frames"]).ravel().astype(np.int64)
        points_px = {camera: _points(content["annot2"], numbers.index(camera), 2) for camera in CAMERAS}
        joints_mm = {camera: _points(content["annot3"], numbers.index(camera), 3) for camera in CAMERAS}
        cameras = read_studio_cameras(path.parent / "camera.calibration")
        in_pictures = np.stack([_is_within(points_px[camera], cameras[camera]) for camera in CAMERAS]).all(axis=0)
        world_mm = np.stack([cameras[camera].world_from(joints_mm[camera]) for camera in CAMERAS])
    except (OSError, LookupError, TypeError, ValueError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: expected MATLAB cells annot2 and annot3 of 28 joints per camera: {reason}") from None
    if frames.shape != in_pictures.shape or (frames.size and frames[0] != 0):
        raise ValueError(f"{path}: frames: expected one number per row of annot3, from 0 on")
    _check_cameras(path, points_px, joints_mm, cameras, world_mm)
    subject, sequence = path.parts[-3:-1]
    kept = in_pictures & ~np.isin(frames, list(WRONG_FRAMES.get((subject, sequence), ())))
    return _reference(frames[kept], world_mm[0][kept], TRAINING_JOINTS)


def _read_test(path: Path) -> ReferenceJoints:
    try:
        with h5py.File(path, "r") as file:
            joints_mm = np.asarray(file["annot3"], dtype=np.float64)
            valid = np.asarray(file["valid_frame"]).ravel() != 0
    except (OSError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: expected MATLAB v7.3 with annot3 and valid_frame: {reason}") from None
    if joints_mm.shape != (len(valid), 1, len(TEST_JOINTS), 3):
        raise ValueError(
            f"{path}: annot3: expected {(len(valid), 1, len(TEST_JOINTS), 3)} of frames, people, joints and axes, "
            f"got {joints_mm.shape}"
        )
    return _reference(np.flatnonzero(valid), joints_mm[valid, 0], TEST_JOINTS)


def _points(cells: Any, cell: int, num_axes: int) -> Float64[np.ndarray, "frames joints axes"]:
    rows = np.asarray(cells.ravel()[cell], dtype=np.float64)
    return rows.reshape(len(rows), len(TRAINING_JOINTS), num_axes)


def _is_within(points_px: Float64[np.ndarray, "frames joints 2"], camera: StudioCamera) -> Bool[np.ndarray, " frames"]:
    size_px = np.array([camera.width_px, camera.height_px])
    return np.asarray(((points_px >= 0) & (points_px < size_px)).all(axis=(1, 2)))


def _check_cameras(
    path: Path,
    points_px: dict[int, Float64[np.ndarray, "frames joints 2"]],
    joints_mm: dict[int, Float64[np.ndarray, "frames joints 3"]],
    cameras: dict[int, StudioCamera],
    world_mm: Float64[np.ndarray, "views frames joints 3"],
) -> None:
    """Joints lie where their own pixels say and, from all cameras, at one place: medians, so that a slip may be."""
    for camera, in_world_mm in zip(CAMERAS, world_mm, strict=True):
        off_px = np.median(np.linalg.norm(cameras[camera].project(joints_mm[camera]) - points_px[camera], axis=-1))
        off_mm = np.median(np.linalg.norm(in_world_mm - world_mm[0], axis=-1))
        if not off_px <= _FARTHEST_PX or not off_mm <= _FARTHEST_MM:
            raise ValueError(
                f"{path}: annot3 of camera {camera} lies {off_px:.1f} px off annot2 and {off_mm:.1f} mm off that of "
                f"camera {CAMERAS[0]}; expected another camera.calibration beside it"
            )


def _reference(
    instants: np.ndarray, world_mm: Float64[np.ndarray, "frames theirs 3"], theirs: tuple[str, ...]
) -> ReferenceJoints:
    """In our joints; those that the file lacks are NaN."""
    names = [OTHER_NAMES.get(joint, joint) for joint in H36M_18.joints]
    joints_world_mm = np.full((len(instants), len(names), 3), np.nan)
    known = [index for index, name in enumerate(names) if name in theirs]
    joints_world_mm[:, known] = world_mm[:, [theirs.index(names[index]) for index in known]]
    return ReferenceJoints(
        instants=instants.astype(np.int64),
        joints_world_mm=joints_world_mm,
        valid=np.asarray(np.isfinite(joints_world_mm).all(axis=-1)),
        source=SOURCE,
    )
