"""The data behind the page's 3D skeleton viewer: poses turned upright, centred and rounded to millimetres."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from mas_ray.shards.manifest import SplitName, Splits
from mas_ray.skeleton import Skeleton

SPLIT_NAMES: tuple[SplitName, ...] = ("train", "validation", "test")
_MAX_SEQUENCE_FRAMES = 400
_DEFAULT_RATE = 25.0


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseSequence:
    """Poses of one take over time, NaN where there is none."""

    name: str
    frames_per_s: float
    """Rate at which the instants follow each other."""
    instants: tuple[int, ...]
    splits: tuple[str, ...]
    """The split of each instant; empty text for none."""
    predicted_mm: Float[np.ndarray, "frames joints 3"]
    reference_mm: Float[np.ndarray, "frames joints 3"] | None
    upwards: Float[np.ndarray, " 3"]
    """About the direction of up in the world."""


def pose_sequences(
    predicted: Sequence[Mapping[str, Any]],
    reference_mm: Mapping[tuple[str, int], Sequence[Sequence[float]]],
    *,
    upwards: Mapping[str, Float[np.ndarray, " 3"]],
    splits: Splits,
    skeleton: Skeleton,
    exchange_sides: bool,
) -> tuple[PoseSequence, ...]:
    """Sequences of triangulated poses: those that have a reference beside it first, then whole takes.

    A sequence of very many instants is thinned out evenly.

    Args:
        predicted: Rows of ``poses.parquet``.
        reference_mm: Reference joints by take and instant, where there are any.
        upwards: About the direction of up in the world, by take; other takes are left out.
        splits: The splits of the dataset.
        skeleton: The joints' names.
        exchange_sides: Exchange left and right in all predictions.
    """
    by_take: dict[str, list[Mapping[str, Any]]] = {}
    for row in predicted:
        by_take.setdefault(row["take_id"], []).append(row)
    order = list(skeleton.mirror_permutation) if exchange_sides else list(range(skeleton.num_joints))
    compared: list[PoseSequence] = []
    whole: list[PoseSequence] = []
    for take_id, rows in by_take.items():
        if take_id not in upwards or all(row["joints_world_mm"] is None for row in rows):
            continue
        name = f"{take_id}, all frames"
        whole.append(_pose_sequence(name, rows, upwards[take_id], splits=splits, order=order))
        rows = [row for row in rows if (take_id, row["instant"]) in reference_mm]
        if rows:
            name = f"{take_id}, beside the reference"
            sequence = _pose_sequence(name, rows, upwards[take_id], splits=splits, order=order)
            references = [reference_mm[take_id, instant] for instant in sequence.instants]
            compared.append(dataclasses.replace(sequence, reference_mm=np.array(references, float)))
    return tuple([*compared, *whole])


def viewer_data(sequences: Sequence[PoseSequence], skeleton: Skeleton) -> dict[str, object]:
    """What ``viewer.js`` reads: JSON with poses as flat lists of integers, y up; null for what is not there."""
    sides = {"left": 0, "right": 2}
    return {
        "bones": [
            [joint, parent, sides.get(skeleton.joints[joint].split("_")[0], 1)]
            for joint, parent in enumerate(skeleton.parents)
            if parent >= 0
        ],
        "sequences": [_sequence(sequence, skeleton) for sequence in sequences],
    }


def upright_from_world(upwards: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """The rotation by quarter turns that brings the world axis nearest to ``upwards`` onto +y."""
    axis = int(np.abs(upwards).argmax())
    up = np.zeros(3)
    up[axis] = np.sign(upwards[axis]) or 1.0
    forward = np.roll(np.abs(up), 1)
    return np.stack([np.cross(up, forward), up, forward])


def _sequence(sequence: PoseSequence, skeleton: Skeleton) -> dict[str, object]:
    rotation = upright_from_world(sequence.upwards)
    predicted = sequence.predicted_mm @ rotation.T
    reference = None if sequence.reference_mm is None else sequence.reference_mm @ rotation.T
    standing = predicted if reference is None else reference
    centre, floor = np.zeros(3), 0.0
    if np.isfinite(standing).any():
        centre = np.nanmedian(standing[:, skeleton.parents.index(-1)], axis=0)
        lowest = (standing - centre)[..., 1][np.isfinite(standing).any(axis=-1)]
        floor = float(np.quantile(lowest, 0.02))
    return {
        "name": sequence.name,
        "framesPerSecond": round(sequence.frames_per_s, 3),
        "instants": list(sequence.instants),
        "splits": list(sequence.splits),
        "floor": round(floor),
        "predicted": _flat(predicted - centre),
        "reference": None if reference is None else _flat(reference - centre),
    }


def _pose_sequence(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    upwards: Float[np.ndarray, " 3"],
    *,
    splits: Splits,
    order: Sequence[int],
) -> PoseSequence:
    kept = rows[:: math.ceil(len(rows) / _MAX_SEQUENCE_FRAMES)]
    nowhere = [[math.nan] * 3] * len(order)
    return PoseSequence(
        name=name,
        frames_per_s=_rate([row["timestamp_s"] for row in kept]),
        instants=tuple(row["instant"] for row in kept),
        splits=tuple(_split_of(splits, row["take_id"], row["instant"]) for row in kept),
        predicted_mm=np.array([row["joints_world_mm"] or nowhere for row in kept], float)[:, list(order)],
        reference_mm=None,
        upwards=upwards,
    )


def _rate(timestamps_s: Sequence[float]) -> float:
    gaps_s = np.diff(timestamps_s)
    return float(1.0 / np.median(gaps_s)) if len(gaps_s) and np.median(gaps_s) > 0 else _DEFAULT_RATE


def _split_of(splits: Splits, take_id: str, instant: int) -> str:
    for name in SPLIT_NAMES:
        for chosen in splits.ranges(name):
            if chosen.take_id == take_id and chosen.start <= instant < chosen.stop:
                return name
    return ""


def _flat(poses_mm: Float[np.ndarray, "frames joints 3"]) -> list[list[int | None] | None]:
    return [
        [None if math.isnan(value) else round(value) for value in pose.ravel().tolist()]
        if np.isfinite(pose).any()
        else None
        for pose in poses_mm
    ]
