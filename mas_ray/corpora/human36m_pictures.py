"""Human3.6M's widely used preprocessed copy: pictures, and a text file for each recording and camera.

::

    <root>/images/s_01_act_02_subact_01_ca_01/s_01_act_02_subact_01_ca_01_000001.jpg   a picture per frame, from 1
           annot/s_01_act_02_subact_01_ca_01/matlab_meta.txt

The text file's first line is the number of frames. Each of the next, after a word of its own, has numbers: width and
height; the rotation camera_from_world, column by column; the camera's centre in the world (millimetres); focal lengths;
principal point; radial and tangential coefficients. The poses behind them are read by ``annotations.human36m`` alone.
Takes are named as those of the official release. The copy has no masks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from mas_ray.corpora.human36m import ACTIONS, FAULTY_REFERENCES, SIZES_PX, UNREADABLE_VIDEOS, calibration, take_id
from mas_ray.corpora.layout import BadSourceError, RejectedSource
from mas_ray.corpora.take import Calibration, Clip, Take

_FOLDER = re.compile(r"s_(\d\d)_act_(\d\d)_subact_(\d\d)_ca_\d\d")
_COUNTS = (1, 2, 9, 3, 2, 2, 3, 2)
"""Of the numbers in each line of the camera."""
_FRAMES_PER_S = 50.0
_PICTURES = (".jpeg", ".jpg", ".png")
"""What decoding takes for a frame."""
_MOST_LISTED = 5

_Recording = tuple[int, int, int]
"""Numbers of subject, action and repetition."""


def is_copy(root: Path) -> bool:
    """Whether a folder has the layout of the copy rather than the release's."""
    return (root / "annot").is_dir()


def sources(root: Path) -> Iterator[Take | RejectedSource]:
    """The takes below ``root`` in the order of their ids, and in their places those whose files are of another kind.

    Raises:
        ValueError: There are none, or one of the cameras of a recording lacks its pictures or its text file; the
            message names them.
    """
    names = [path.name for part in ("annot", "images") if (root / part).is_dir() for path in (root / part).iterdir()]
    numbers = {tuple(map(int, match.groups())) for match in map(_FOLDER.fullmatch, names) if match}
    found: list[_Recording] = [(s, action, repetition) for s, action, repetition in numbers if action in ACTIONS]
    if not found:
        raise ValueError(f"{root}: no annot/s_01_act_02_subact_01_ca_01 or the like")
    wanted = [path for each in sorted(found) for camera in _cameras(each) for path in _files(root, each, camera)]
    missing = [str(path) for path in wanted if not path.exists()]
    if missing:
        more = f" and {len(missing) - _MOST_LISTED} more" if len(missing) > _MOST_LISTED else ""
        raise ValueError(f"not where the copy has them: {', '.join(missing[:_MOST_LISTED])}{more}")
    in_order = sorted(found, key=_take_id)
    return (_source(root, recording) for recording in in_order)


def _source(root: Path, recording: _Recording) -> Take | RejectedSource:
    try:
        clips = tuple(_clip(root, recording, camera) for camera in _cameras(recording))
    except BadSourceError as error:
        return RejectedSource(take_id=_take_id(recording), reason=error.reason, detail=str(error))
    subject, action, repetition = recording
    return Take(
        take_id=_take_id(recording),
        subject=f"S{subject}",
        action=ACTIONS[action],
        clips=clips,
        reference=str(_files(root, recording, _cameras(recording)[0])[1]),
        reference_fault=FAULTY_REFERENCES.get((f"S{subject}", action, repetition), ""),
        ends_differ=True,
    )


def _take_id(recording: _Recording) -> str:
    subject, action, repetition = recording
    return take_id(f"S{subject}", action, repetition)


def _cameras(recording: _Recording) -> list[str]:
    subject, action, repetition = recording
    return [camera for camera in SIZES_PX if (f"S{subject}", action, repetition, camera) not in UNREADABLE_VIDEOS]


def _files(root: Path, recording: _Recording, camera: str) -> tuple[Path, Path]:
    """The folder of pictures and the text file of a view."""
    subject, action, repetition = recording
    number = list(SIZES_PX).index(camera) + 1
    name = f"s_{subject:02d}_act_{action:02d}_subact_{repetition:02d}_ca_{number:02d}"
    return root / "images" / name, root / "annot" / name / "matlab_meta.txt"


def _clip(root: Path, recording: _Recording, camera: str) -> Clip:
    pictures, text = _files(root, recording, camera)
    if not pictures.is_dir() or not text.is_file():
        raise BadSourceError("bad_layout", f"{pictures.name}: expected a folder of pictures and a text file")
    _check_numbered(pictures)
    return Clip(view=camera, video=str(pictures), calibration=_read_camera(text), frames_per_s=_FRAMES_PER_S)


def _check_numbered(pictures: Path) -> None:
    """Frames are told by the order of the pictures, so a picture that is missing would shift those behind it."""
    found = sorted(path.name for path in pictures.iterdir() if path.suffix.lower() in _PICTURES)
    for number, name in enumerate(found, start=1):
        expected = f"{pictures.name}_{number:06d}.jpg"
        if name != expected:
            raise BadSourceError("bad_layout", f"images/{pictures.name}: expected {expected}, found {name}")


def _read_camera(path: Path) -> Calibration:
    where = f"annot/{path.parent.name}/{path.name}"
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = [line.split() for line in islice(file, len(_COUNTS))]
    if len(lines) < len(_COUNTS):
        raise BadSourceError("bad_calibration", f"{where}: expected {len(_COUNTS)} lines of the camera")
    rows: list[np.ndarray] = []
    for number, (words, count) in enumerate(zip(lines, _COUNTS, strict=True), start=1):
        row = _numbers(words[-count:])
        if len(row) != count or len(words) > count + 1 or not np.isfinite(row).all():
            raise BadSourceError("bad_calibration", f"{where}: line {number}: expected {count} numbers behind a word")
        rows.append(row)
    _, size_px, rotation, centre_mm, *intrinsics = rows
    return calibration(
        R=rotation.reshape(3, 3).T,
        centre_mm=centre_mm,
        intrinsics=np.concatenate(intrinsics),
        size_px=(int(size_px[0]), int(size_px[1])),
    )


def _numbers(words: list[str]) -> np.ndarray:
    """The words as numbers; none if one of them is none."""
    try:
        return np.array([float(word) for word in words])
    except ValueError:
        return np.zeros(0)
