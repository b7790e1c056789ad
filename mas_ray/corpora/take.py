"""Take, Clip and Calibration: what a corpus knows of a recording before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """One camera as its corpus describes it: a pinhole with lens distortion, OpenCV's conventions.

    Attributes:
        width_px: Width of the images that the calibration is of.
        height_px: Their height.
        K: image_from_camera of the undistorted image, pixels; (0, 0) is the centre of the top-left pixel.
        distortion: OpenCV's coefficients k1, k2, p1, p2[, k3] or one of its longer lists; empty for none.
        R: camera_from_world rotation.
        t_mm: camera_from_world translation: ``x_camera = R @ x_world + t``.
    """

    width_px: int
    height_px: int
    K: Float64[np.ndarray, "3 3"]
    distortion: Float64[np.ndarray, " coefficients"]
    R: Float64[np.ndarray, "3 3"]
    t_mm: Float64[np.ndarray, " 3"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """One camera's video of a take.

    Attributes:
        view: Name of the view; unique in its take.
        video: Path of the video file, or of a folder of pictures (JPEG or PNG, in the order of their names).
        calibration: The camera, or None where the corpus has none.
        masks: Path of provided masks (a video, or a folder of PNG files), if there are any.
        background: Path of a picture of the empty scene, if there is one.
        frames_per_s: Of pictures in a folder, which do not tell; None takes 25. Videos tell.
        chair_masks: Path of masks of the furniture (a video, or a folder of pictures), where those of the clip are of
            all that is not green screen: MPI-INF-3DHP's (``ingest.masks.mpi_inf_3dhp``).
    """

    view: str
    video: str
    calibration: Calibration | None = None
    masks: str | None = None
    background: str | None = None
    frames_per_s: float | None = None
    chair_masks: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Take:
    """One performance seen by one or more synchronised cameras: the unit of ingest.

    Attributes:
        take_id: Unique in its corpus; safe as a file name.
        subject: Who performs; splits go by it.
        action: What is performed.
        clips: The views, in the order of their names.
        reference: Path of reference joints (``reference.parquet``), if there are any. Nobody but ingest's copy
            into the annotation folder and the evaluation ever opens it.
        reference_fault: What is known to be wrong with the reference, or nothing.
        ends_differ: The cameras are known to have begun together and to have stopped one by one: what is beyond the
            shortest video is left out. Otherwise videos of different lengths are not of one take.
        skip_ends: How many frames at either end are not of the performance.
    """

    take_id: str
    subject: str
    action: str
    clips: tuple[Clip, ...]
    reference: str | None = None
    reference_fault: str = ""
    ends_differ: bool = False
    skip_ends: int = 0
