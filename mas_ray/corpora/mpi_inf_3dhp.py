"""MPI-INF-3DHP as its owners hand it out: eight subjects in a green studio, and the test set's six sequences.

::

    <root>/S1/Seq1/imageSequence/video_0.avi     or images/video_0/frame_000001.jpg, the first frame
                   FGmasks/video_0.avi           or masks/video_0/frame_000001.jpg; optional, with the next
                   ChairMasks/video_0.avi        or chair_masks/video_0/frame_000001.jpg
                   camera.calibration
                   annot.mat                     reference joints

    <root>/TS1/imageSequence/img_000001.jpg      the root is mpi_inf_3dhp_test_set
               annot_data.mat                    reference joints
           test_util/camera_calibration/ts1-4cameras.calib, ts5-6cameras.calib

A sequence is a take, ``S1_Seq1`` or ``TS1``. Of the studio's fourteen cameras the five at chest height are views. Test
sequences have one view each and no masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mas_ray.corpora.layout import RejectedSource
from mas_ray.corpora.take import Calibration, Clip, Take
from mas_ray.mpi_inf_3dhp_cameras import StudioCamera, read_studio_cameras, read_test_camera

CAMERAS = (0, 2, 4, 7, 8)
"""Those at chest height, in the dataset's numbers."""
TRAINING_SUBJECTS = ("S1", "S2", "S3", "S4", "S5", "S6")
EVALUATION_SUBJECTS = ("S7", "S8")
"""Whom the paper evaluates on, in the place of the official test set."""
TEST_SEQUENCES = ("TS1", "TS2", "TS3", "TS4", "TS5", "TS6")
"""The official test set."""

_SEQUENCES = ("Seq1", "Seq2")
_SHORT_VIDEOS = frozenset({("S6", "Seq2", 2)})
"""Subject, sequence and camera of videos that end long before the others; their takes have four views."""
_FAST_SUBJECTS, _FAST_SEQUENCES = frozenset({"S3", "S5"}), frozenset({"S1_Seq2"})
"""Recorded at 50 frames per second, the others at 25; videos say so themselves, pictures do not."""
_OUTDOORS = frozenset({"TS5", "TS6"})
_MOST_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A sequence: what it needs, and how it becomes a take."""

    take_id: str
    files: tuple[Path, ...]
    """Files and folders of pictures."""
    read: Callable[[], Take]


def sources(root: Path) -> Iterator[Take | RejectedSource]:
    """The takes below ``root`` in the order of their ids; a sequence whose cameras cannot be read is rejected.

    Raises:
        ValueError: There is no subject and no test sequence, or a file of one that is there is not where it should be;
            the message names the files. Nothing has been read then.
    """
    subjects = [name for name in (*TRAINING_SUBJECTS, *EVALUATION_SUBJECTS) if (root / name).is_dir()]
    planned = [_training_source(root / name / sequence, name, sequence) for name in subjects for sequence in _SEQUENCES]
    planned += [_test_source(root, name) for name in TEST_SEQUENCES if (root / name).is_dir()]
    if not planned:
        raise ValueError(
            f"{root}: no subject's folder (S1, S2, ...) of MPI-INF-3DHP, nor one of its test set (TS1, ...)"
        )
    missing = [str(file) for source in planned for file in source.files if not file.exists()]
    if missing:
        more = f" and {len(missing) - _MOST_LISTED} more" if len(missing) > _MOST_LISTED else ""
        raise ValueError(f"not where the release has them: {', '.join(missing[:_MOST_LISTED])}{more}")
    return (_take(root, source) for source in planned)


def _training_source(folder: Path, subject: str, sequence: str) -> _Source:
    take_id, calibration, reference = f"{subject}_{sequence}", folder / "camera.calibration", folder / "annot.mat"
    cameras = [camera for camera in CAMERAS if (subject, sequence, camera) not in _SHORT_VIDEOS]
    videos, foregrounds, chairs = (
        _of_cameras(folder, official, pictures, cameras)
        for official, pictures in (("imageSequence", "images"), ("FGmasks", "masks"), ("ChairMasks", "chair_masks"))
    )
    has_masks = foregrounds[cameras[0]].parent.is_dir()
    files = [*videos.values(), *(path for part in (foregrounds, chairs) for path in part.values() if has_masks)]

    def read() -> Take:
        calibrations = read_studio_cameras(calibration)
        if absent := [str(camera) for camera in cameras if camera not in calibrations]:
            raise ValueError(f"{calibration}: expected cameras {', '.join(absent)}, too")
        clips = (
            Clip(
                view=f"video_{camera}",
                video=str(videos[camera]),
                calibration=_calibration(calibrations[camera]),
                masks=str(foregrounds[camera]) if has_masks else None,
                chair_masks=str(chairs[camera]) if has_masks else None,
                frames_per_s=50.0 if subject in _FAST_SUBJECTS or take_id in _FAST_SEQUENCES else 25.0,
            )
            for camera in cameras
        )
        return Take(take_id=take_id, subject=subject, action=sequence, clips=tuple(clips), reference=str(reference))

    return _Source(take_id=take_id, files=(*files, calibration, reference), read=read)


def _of_cameras(folder: Path, official: str, pictures: str, cameras: list[int]) -> dict[int, Path]:
    """What there is of each camera: the videos, or where there are none, what somebody has taken out of them."""
    if not (folder / official).is_dir() and (folder / pictures).is_dir():
        return {camera: folder / pictures / f"video_{camera}" for camera in cameras}
    return {camera: folder / official / f"video_{camera}.avi" for camera in cameras}


def _test_source(root: Path, name: str) -> _Source:
    pictures, reference = root / name / "imageSequence", root / name / "annot_data.mat"
    calibration = root / "test_util" / "camera_calibration" / f"ts{'5-6' if name in _OUTDOORS else '1-4'}cameras.calib"
    width_px, height_px = (1920, 1080) if name in _OUTDOORS else (2048, 2048)

    def read() -> Take:
        camera = read_test_camera(calibration, width_px=width_px, height_px=height_px)
        clip = Clip(view="image", video=str(pictures), calibration=_calibration(camera))
        return Take(take_id=name, subject=name, action=name, clips=(clip,), reference=str(reference))

    return _Source(take_id=name, files=(pictures, calibration, reference), read=read)


def _take(root: Path, source: _Source) -> Take | RejectedSource:
    try:
        return source.read()
    except OSError as error:
        return RejectedSource(take_id=source.take_id, reason="unreadable_file", detail=f"{error.strerror}")
    except ValueError as error:
        detail = str(error).replace(f"{root}/", "")
        return RejectedSource(take_id=source.take_id, reason="bad_calibration", detail=detail)


def _calibration(camera: StudioCamera) -> Calibration:
    return Calibration(
        width_px=camera.width_px,
        height_px=camera.height_px,
        K=camera.K,
        distortion=np.zeros(0),
        R=camera.R,
        t_mm=camera.t_mm,
    )
