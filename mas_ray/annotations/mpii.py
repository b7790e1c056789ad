"""MPII's validation set: people in single pictures, their 2D joints, and the heads that errors are measured by.

By the files that its users hand on: ``annot/valid.json`` (or ``mpii_valid.json``) with a person per entry, and
``annot/gt_valid.mat`` (or ``mpii_gt_valid.mat``) with head boxes and missing joints of the same people, in that order.
Both count pixels from 1, as MATLAB does; here (0, 0) is the centre of the first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from jaxtyping import Bool, Float64

from mas_ray.skeleton import H36M_18

_PEOPLE = ("valid.json", "mpii_valid.json")
_HEADS = ("gt_valid.mat", "mpii_gt_valid.mat")
JOINTS = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "thorax"),
    *("neck", "head", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
)
"""MPII's 16 in its order, by our names: its upper neck is the neck, its top of the head the head."""
_HEAD_SHARE = 0.6  # of the head box's diagonal: what MPII's own evaluation takes for the head's size
_REFERENCE_PX = 200.0  # the side that a scale of one stands for


@dataclass(frozen=True, kw_only=True, eq=False)
class PicturePerson:
    """One annotated person.

    Attributes:
        picture: Name of the picture.
        centre_px: Of the person, roughly.
        height_px: Of the person, roughly: 200 times MPII's scale.
        joints_px: Joints of ``H36M_18``; NaN where MPII has none or it is missing.
        visible: Whether MPII has the joint; its evaluation counts those.
        head_px: Size of the head.
    """

    picture: str
    centre_px: Float64[np.ndarray, " 2"]
    height_px: float
    joints_px: Float64[np.ndarray, "joints 2"]
    visible: Bool[np.ndarray, " joints"]
    head_px: float


def read_mpii(root: Path) -> tuple[PicturePerson, ...]:
    """The people below ``root``, in the files' order.

    Raises:
        ValueError: A file is missing, is not of the format, or the two are not of the same people; the message names
            file and field.
    """
    people_file, heads_file = _one_of(root / "annot", _PEOPLE), _one_of(root / "annot", _HEADS)
    entries = _entries(people_file)
    boxes, missing = _heads(heads_file)
    if not entries or boxes.shape != (2, 2, len(entries)) or missing.shape != (len(JOINTS), len(entries)):
        raise ValueError(
            f"{heads_file}: headboxes_src, jnt_missing: expected those of the {len(entries)} people of "
            f"{people_file.name}, got {boxes.shape} and {missing.shape}"
        )
    return tuple(
        _person(people_file, number, entry, boxes[..., number], missing[:, number] != 0)
        for number, entry in enumerate(entries)
    )


def _one_of(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"{folder}: expected {' or '.join(names)} here")


def _entries(path: Path) -> list[Any]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(entries, list):
        raise ValueError(f"{path}: expected a list of people")
    return entries


def _heads(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        content = scipy.io.loadmat(path, variable_names=["headboxes_src", "jnt_missing"])
        return np.asarray(content["headboxes_src"], np.float64), np.asarray(content["jnt_missing"], np.float64)
    except KeyError as error:
        raise ValueError(f"{path}: {error.args[0]}: missing") from None
    except Exception as error:  # scipy raises whatever a damaged file makes it stumble over
        raise ValueError(f"{path}: not a readable MATLAB file: {' '.join(str(error).split())}") from None


def _person(path: Path, number: int, entry: Any, box: np.ndarray, is_missing: np.ndarray) -> PicturePerson:
    try:
        picture = entry["image"]
        joints_px = np.array(entry["joints"], dtype=np.float64).reshape(len(JOINTS), 2) - 1.0
        centre_px = np.array(entry["center"], dtype=np.float64).reshape(2) - 1.0
        height_px = float(entry["scale"]) * _REFERENCE_PX
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: person {number}: image, joints, center, scale: {error!r}") from None
    if not isinstance(picture, str) or Path(picture).name != picture:
        raise ValueError(f"{path}: person {number}: image: expected the name of a picture, got {picture!r}")
    head_px = _HEAD_SHARE * float(np.linalg.norm(box[1] - box[0]))
    if not (height_px > 0 and head_px > 0):
        raise ValueError(f"{path}: person {number}: expected a scale and a head box with a size")
    ours = [H36M_18.index(joint) for joint in JOINTS]
    in_order, visible = np.full((H36M_18.num_joints, 2), np.nan), np.zeros(H36M_18.num_joints, dtype=bool)
    in_order[ours] = np.where(is_missing[:, None], np.nan, joints_px)
    visible[ours] = ~is_missing
    return PicturePerson(
        picture=picture,
        centre_px=centre_px,
        height_px=height_px,
        joints_px=in_order,
        visible=visible,
        head_px=head_px,
    )
