"""Human3.6M as its owners hand it out, for which they ask a licence.

Unpacked in one folder::

    <root>/metadata.xml
           S1/Videos/Directions 1.54138969.mp4
              MySegmentsMat/ground_truth_bs/Directions 1.54138969.mat     optional: the masks of its own
              MyPoseFeatures/D3_Positions/Directions 1.cdf                optional: reference joints

Takes are what a subject performs once, by four cameras. ``metadata.xml`` says what the files of an action are called,
which differs between subjects, and holds the cameras.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float64

from mas_ray.corpora.take import Calibration, Clip, Take

ACTIONS: Mapping[int, str] = MappingProxyType(
    {
        2: "Directions",
        3: "Discussion",
        4: "Eating",
        5: "Greeting",
        6: "Phoning",
        7: "Posing",
        8: "Purchases",
        9: "Sitting",
        10: "SittingDown",
        11: "Smoking",
        12: "TakingPhoto",
        13: "Waiting",
        14: "Walking",
        15: "WalkDog",
        16: "WalkTogether",
    }
)
"""By their number in ``metadata.xml``; what else it lists are whole sessions."""
PAPER_ACTIONS = ("Directions", "Discussion", "Greeting", "Posing", "Waiting", "Walking")
"""The six that the paper trains and evaluates on."""
TRAINING_SUBJECTS = ("S1", "S5", "S6", "S7", "S8")
TEST_SUBJECTS = ("S9", "S11")

SIZES_PX: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"54138969": (1000, 1002), "55011271": (1000, 1000), "58860488": (1000, 1000), "60457274": (1000, 1002)}
)
"""Width and height of the videos of each camera, in the order in which ``metadata.xml`` has the cameras."""
_NUM_SUBJECTS = 11
_NUM_EXTRINSICS = 6
_NUM_INTRINSICS = 9
_NO_OTHER_TERMS = (0.0,) * 7
"""OpenCV's rational and thin-prism coefficients, which stand before its tilt."""
UNREADABLE_VIDEOS = frozenset({("S11", 2, 2, "54138969")})
"""Subject, action, repetition and camera of videos that are damaged in the release; their takes have three views."""
_DRIFTING = "the reference drifts away from the person"
FAULTY_REFERENCES: Mapping[tuple[str, int, int], str] = MappingProxyType(
    {("S9", 5, 2): _DRIFTING, ("S9", 10, 2): _DRIFTING, ("S9", 13, 1): _DRIFTING}
)
"""Subject, action and repetition of recordings whose poses do not fit the videos, as others have found."""
_MOST_LISTED = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class _Metadata:
    names: Mapping[tuple[str, int, int], str]
    """What the files of a subject's action and repetition are called."""
    cameras: Float64[np.ndarray, " numbers"]
    """``w0``: six numbers per camera and subject, then nine per camera."""


def sources(root: Path) -> Iterator[Take]:
    """The takes below ``root`` in the order of their ids, such as ``S09_Greeting_2``.

    Raises:
        ValueError: There is no ``metadata.xml`` or no subject, or a video, or one of the masks or poses of a subject
            that has any, is not where it should be; the message names the files.
    """
    metadata = _read_metadata(root / "metadata.xml")
    subjects = sorted({subject for subject, _, _ in metadata.names if (root / subject).is_dir()}, key=_number)
    if not subjects:
        raise ValueError(f"{root}: no subject's folder (S1, S5, ...) beside metadata.xml")
    takes = [
        _take(root / subject, metadata, subject, action, repetition, name)
        for (subject, action, repetition), name in metadata.names.items()
        if subject in subjects and action in ACTIONS
    ]
    _check_complete(takes)
    return iter(sorted(takes, key=lambda take: take.take_id))


def take_id(subject: str, action: int, repetition: int) -> str:
    """The id of a performance, however its files lie."""
    return f"S{_number(subject):02d}_{ACTIONS[action]}_{repetition}"


def calibration(
    *,
    R: Float64[np.ndarray, "3 3"],
    centre_mm: Float64[np.ndarray, " 3"],
    intrinsics: Float64[np.ndarray, " 9"],
    size_px: tuple[int, int],
) -> Calibration:
    """A camera by the release's numbers.

    Of the tangential coefficients the release's own projection has OpenCV's terms less one along the ray,
    (p1 y + p2 x) times the point, which is what a sensor tilted by the angles (p1, -p2) takes back: so OpenCV gets
    them as its tilt, too. Without it projections are off by up to 1.5 pixels in the corners, with it by 0.12.

    Args:
        R: camera_from_world rotation.
        centre_mm: The camera's centre in the world.
        intrinsics: Focal lengths, principal point, three radial and two tangential coefficients.
        size_px: Width and height of the pictures.
    """
    fx, fy, cx, cy, k1, k2, k3, p1, p2 = intrinsics.tolist()
    return Calibration(
        width_px=size_px[0],
        height_px=size_px[1],
        K=np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]),
        distortion=np.array([k1, k2, p1, p2, k3, *_NO_OTHER_TERMS, -p1, p2]),
        R=R,
        t_mm=-R @ centre_mm,
    )


def _take(folder: Path, metadata: _Metadata, subject: str, action: int, repetition: int, name: str) -> Take:
    segments, poses = folder / "MySegmentsMat" / "ground_truth_bs", folder / "MyPoseFeatures" / "D3_Positions"
    cameras = [c for c in SIZES_PX if (subject, action, repetition, c) not in UNREADABLE_VIDEOS]
    return Take(
        take_id=take_id(subject, action, repetition),
        subject=subject,
        action=ACTIONS[action],
        clips=tuple(
            Clip(
                view=camera,
                video=str(folder / "Videos" / f"{name}.{camera}.mp4"),
                calibration=_calibration(metadata.cameras, _number(subject), camera),
                masks=str(segments / f"{name}.{camera}.mat") if segments.is_dir() else None,
            )
            for camera in cameras
        ),
        reference=str(poses / f"{name}.cdf") if poses.is_dir() else None,
        reference_fault=FAULTY_REFERENCES.get((subject, action, repetition), ""),
        ends_differ=True,
    )


def _calibration(numbers: Float64[np.ndarray, " numbers"], subject: int, camera: str) -> Calibration:
    """A camera of a subject's session.

    Of the six numbers the first three are angles: the rotation is Rx Ry Rz, camera_from_world; the others are the
    camera's centre in the world, millimetres. The nine are its ``intrinsics``.
    """
    index = list(SIZES_PX).index(camera)
    start = _NUM_EXTRINSICS * (index * _NUM_SUBJECTS + subject - 1)
    angles, centre_mm = numbers[start : start + 3], numbers[start + 3 : start + 6]
    begin = _NUM_EXTRINSICS * _NUM_SUBJECTS * len(SIZES_PX) + _NUM_INTRINSICS * index
    return calibration(
        R=_rotation(*angles.tolist()),
        centre_mm=centre_mm,
        intrinsics=numbers[begin : begin + _NUM_INTRINSICS],
        size_px=SIZES_PX[camera],
    )


def _rotation(x: float, y: float, z: float) -> Float64[np.ndarray, "3 3"]:
    about_x = [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]
    about_y = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    about_z = [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]
    return np.array(about_x) @ np.array(about_y) @ np.array(about_z)


def _read_metadata(path: Path) -> _Metadata:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; Human3.6M's metadata.xml (of its code release) belongs there")
    try:
        tree = ElementTree.parse(path)
        mapping = [[(cell.text or "").strip() for cell in row] for row in tree.iterfind("mapping/*")]
        cameras = np.array((tree.findtext("w0") or "").strip().strip("[]").split(), dtype=np.float64)
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"{path}: not Human3.6M's metadata: {error}") from None
    expected = len(SIZES_PX) * (_NUM_EXTRINSICS * _NUM_SUBJECTS + _NUM_INTRINSICS)
    if cameras.size != expected or not np.isfinite(cameras).all():
        raise ValueError(f"{path}: w0: expected {expected} finite numbers, got {cameras.size}")
    if not mapping or len(mapping[0]) < 3:
        raise ValueError(f"{path}: mapping: expected a row of subjects and a row per action and repetition")
    _, _, *subjects = mapping[0]
    names = {
        (subject, int(action), int(repetition)): name
        for action, repetition, *of_subjects in mapping[1:]
        if action.isdigit() and repetition.isdigit()
        for subject, name in zip(subjects, of_subjects, strict=False)
        if name
    }
    for key, name in names.items():
        if Path(name).name != name:
            raise ValueError(f"{path}: mapping: expected the name of files of {key}, got {name!r}")
    return _Metadata(names=names, cameras=cameras)


def _check_complete(takes: list[Take]) -> None:
    wanted = [path for take in takes for clip in take.clips for path in (clip.video, clip.masks) if path is not None]
    wanted += [take.reference for take in takes if take.reference is not None]
    missing = [path for path in wanted if not Path(path).is_file()]
    if missing:
        listed = ", ".join(missing[:_MOST_LISTED])
        more = f" and {len(missing) - _MOST_LISTED} more" if len(missing) > _MOST_LISTED else ""
        raise ValueError(f"not where the release has them: {listed}{more}")


def _number(subject: str) -> int:
    return int(subject.removeprefix("S"))
