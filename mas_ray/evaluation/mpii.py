"""The evaluation on MPII: PCKh of keypoints in single pictures, and its record ``mpii.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mas_ray.config import codec
from mas_ray.evaluation import metrics
from mas_ray.evaluation.left_right import exchange_sides, oracle_swaps
from mas_ray.shards.location import Location
from mas_ray.shards.write import write_text
from mas_ray.skeleton import Skeleton

FORMAT = "mas-ray mpii 1"
PROTOCOL = (
    "MPII's validation people by their annotated centre and scale: the square around (x, y + 15 scale) of side 250 "
    "scale. PCKh: share of the joints that MPII has and that lie within half a head (0.6 of the head box's diagonal) "
    "of it, all joints of all people alike; as usual without pelvis and thorax. Who was not found counts with all "
    "joints wrong in pckh_percent, and not at all in pckh_of_found_percent. Left and right: raw as the checkpoint "
    "names them; oracle_pose exchanged, person by person, where that is nearer to the annotation."
)
MpiiHandling = Literal["raw", "oracle_pose"]
_LEFT_OUT = ("pelvis", "thorax")


@dataclass(frozen=True, kw_only=True)
class NotFound:
    """People without a prediction, and why."""

    reason: str
    num_people: int


@dataclass(frozen=True, kw_only=True)
class JointPckh:
    """Of one joint."""

    joint: str
    pckh_percent: float
    num_joints: int


@dataclass(frozen=True, kw_only=True)
class PckhFigures:
    """Under one handling of left and right."""

    handling: MpiiHandling
    exchanged_fraction: float
    """Share of the people found in whom left and right were exchanged before measuring."""
    pckh_percent: float
    pckh_of_found_percent: float | None
    """None if nobody was found."""
    pckh_all_joints_percent: float
    """``pckh_percent`` with pelvis and thorax."""
    joints: tuple[JointPckh, ...]
    """Who was not found counts."""


@dataclass(frozen=True, kw_only=True)
class MpiiEvaluation:
    """The record."""

    format: str
    protocol: str
    checkpoint: str
    masks: str
    """The mask method."""
    num_people: int
    not_found: tuple[NotFound, ...]
    """In the order of the reasons."""
    figures: tuple[PckhFigures, ...]

    def under(self, handling: MpiiHandling) -> PckhFigures:
        """The figures under one handling of left and right."""
        return next(figures for figures in self.figures if figures.handling == handling)


def pckh_figures(
    predicted_px: Float[Tensor, "people joints 2"],
    reference_px: Float[Tensor, "people joints 2"],
    visible: Bool[Tensor, "people joints"],
    head_px: Float[Tensor, " people"],
    skeleton: Skeleton,
) -> tuple[PckhFigures, ...]:
    """The figures under every handling; predictions are NaN for people who were not found.

    Raises:
        ValueError: No joint is visible.
    """
    if not visible.any():
        raise ValueError("no person has a joint to measure")
    everybody = torch.ones(len(head_px), dtype=torch.bool)
    exchanged = exchange_sides(predicted_px, everybody, skeleton)
    swaps: dict[MpiiHandling, Tensor] = {
        "raw": ~everybody,
        "oracle_pose": oracle_swaps(_error(predicted_px, reference_px), _error(exchanged, reference_px)),
    }
    return tuple(
        _figures(handling, swap, exchange_sides(predicted_px, swap, skeleton), reference_px, visible, head_px, skeleton)
        for handling, swap in swaps.items()
    )


def write_mpii(path: Location, evaluation: MpiiEvaluation) -> None:
    """Write ``mpii.json``, whole or not at all."""
    write_text(path, codec.dumps(evaluation))


def read_mpii_evaluation(path: Path) -> MpiiEvaluation:
    """Read ``mpii.json``; ``ValueError`` names the file if it is of another format."""
    text = path.read_text(encoding="utf-8")
    try:
        found = json.loads(text).get("format")
    except (json.JSONDecodeError, AttributeError):
        found = None
    if found != FORMAT:
        raise ValueError(f"{path}: format {found!r}, expected {FORMAT!r}; evaluate again")
    return codec.loads(MpiiEvaluation, text, str(path))


def _error(predicted_px: Tensor, reference_px: Tensor) -> Float[Tensor, " people"]:
    return metrics.keypoint_errors(predicted_px, reference_px).nanmean(-1)


def _figures(
    handling: MpiiHandling,
    swap: Bool[Tensor, " people"],
    predicted_px: Float[Tensor, "people joints 2"],
    reference_px: Float[Tensor, "people joints 2"],
    visible: Bool[Tensor, "people joints"],
    head_px: Float[Tensor, " people"],
    skeleton: Skeleton,
) -> PckhFigures:
    found = predicted_px.isfinite().all(-1).any(-1)
    errors_px = metrics.keypoint_errors(predicted_px, reference_px).nan_to_num(torch.inf)
    usual = visible.clone()
    usual[:, [skeleton.index(joint) for joint in _LEFT_OUT]] = False
    return PckhFigures(
        handling=handling,
        exchanged_fraction=float(swap[found].double().mean()) if found.any() else 0.0,
        pckh_percent=metrics.pckh(errors_px, head_px, usual),
        pckh_of_found_percent=metrics.pckh(errors_px[found], head_px[found], usual[found])
        if usual[found].any()
        else None,
        pckh_all_joints_percent=metrics.pckh(errors_px, head_px, visible),
        joints=tuple(
            JointPckh(
                joint=joint,
                pckh_percent=metrics.pckh(errors_px[:, [n]], head_px, visible[:, [n]]),
                num_joints=int(visible[:, n].sum()),
            )
            for n, joint in enumerate(skeleton.joints)
            if visible[:, n].any()
        ),
    )
