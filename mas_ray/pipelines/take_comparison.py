"""A split's takes, each predicted and put beside its reference joints: the unit of work of an evaluation.

Frame sets are predicted some at a time within their take, so that nothing depends on who predicts which takes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mas_ray.annotations import ReferenceJoints
from mas_ray.evaluation.comparison import Comparison, ViewGeometry, compare, concatenate
from mas_ray.geometry.camera import Camera
from mas_ray.inference import PREDICTED_AT_ONCE, FrameSetEstimator
from mas_ray.shards.location import location
from mas_ray.shards.manifest import SplitName, read_manifest
from mas_ray.shards.read import read_split


@dataclass(frozen=True, kw_only=True, eq=False)
class TakeToCompare:
    """A take of the split and its reference."""

    take_id: str
    reference: ReferenceJoints


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedTake:
    """A take as predicted and as the reference has it."""

    take_id: str
    instants: tuple[int, ...]
    """Of the frame sets that have a reference, in the order of time."""
    num_frame_sets: int
    """Those without one too."""
    any_calibrated: bool
    """Whether any of their views is."""
    comparison: Comparison | None
    """None if no frame set has a reference."""


class TakeComparer:
    """Predicts takes of a split, and compares."""

    def __init__(self, estimator: FrameSetEstimator, *, manifest: str, split: SplitName) -> None:
        """Read the manifest, named by its path or URI; ``ValueError`` names the file if that fails."""
        self._estimator = estimator
        self._folder = location(manifest).parent
        self._split: SplitName = split
        self._manifest = read_manifest(location(manifest))

    def __call__(self, take: TakeToCompare) -> ComparedTake:
        """Predict one take, and put every frame set that has a reference beside it."""
        joints = _joints_by_instant(take.reference)
        comparisons: list[Comparison] = []
        instants: list[int] = []
        num_frame_sets, any_calibrated = 0, False
        rows = read_split(self._folder, self._manifest, self._split, take_id=take.take_id)
        while some := list(itertools.islice(rows, PREDICTED_AT_ONCE)):
            num_frame_sets += len(some)
            any_calibrated |= any(view["calibrated"] for row in some for view in row["views"])
            known = [row["instant"] in joints for row in some]
            if any(known):
                instants += [row["instant"] for row, kept in zip(some, known, strict=True) if kept]
                comparisons.append(self._compare(some, joints).of_frames(torch.tensor(known)))
        return ComparedTake(
            take_id=take.take_id,
            instants=tuple(instants),
            num_frame_sets=num_frame_sets,
            any_calibrated=any_calibrated,
            comparison=concatenate(comparisons) if comparisons else None,
        )

    def _compare(
        self, rows: Sequence[Mapping[str, Any]], joints: Mapping[int, Float[Tensor, "joints 3"]]
    ) -> Comparison:
        skeleton = self._estimator.skeleton
        prediction = self._estimator.predict(rows, self._manifest.view_slots)
        nowhere = torch.full((skeleton.num_joints, 3), torch.nan, dtype=torch.float64)
        num_views = prediction.valid.shape[1]
        return compare(
            prediction,
            _geometry([_along_axis(row, names, num_views) for row, names in zip(rows, prediction.views, strict=True)]),
            reference_mm=torch.stack([joints.get(row["instant"], nowhere) for row in rows]),
            crop_size_px=self._manifest.parameters.crop.size_px,
            root=skeleton.parents.index(-1),
        )


def _joints_by_instant(reference: ReferenceJoints) -> dict[int, Float[Tensor, "joints 3"]]:
    """World millimetres, NaN where the reference is not valid."""
    return {
        int(instant): torch.from_numpy(joints).masked_fill(~torch.from_numpy(valid)[:, None], torch.nan)
        for instant, joints, valid in zip(reference.instants, reference.joints_world_mm, reference.valid, strict=True)
        if valid.any()
    }


def _along_axis(row: Mapping[str, Any], names: Sequence[str], num_views: int) -> list[Mapping[str, Any] | None]:
    """A frame set's views in the order of the prediction's axis; None where there is none."""
    views = {view["name"]: view for view in row["views"]}
    return [views.get(name) for name in names] + [None] * (num_views - len(names))


def _geometry(views: list[list[Mapping[str, Any] | None]]) -> ViewGeometry:
    """Absent and uncalibrated views get a camera that is harmless to compute with."""
    harmless = {
        "calibrated": False,
        "crop_from_image": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        "K": torch.eye(3).flatten().tolist(),
        "R": torch.eye(3).flatten().tolist(),
        "t_mm": (0.0, 0.0, 1000.0),
    }
    usable = [[view if view is not None and view["calibrated"] else harmless for view in row] for row in views]

    def stacked(key: str, *shape: int) -> Tensor:
        values = [[view[key] for view in row] for row in usable]
        return torch.tensor(values, dtype=torch.float64).reshape(len(views), -1, *shape)

    return ViewGeometry(
        camera=Camera(K=stacked("K", 3, 3), R=stacked("R", 3, 3), t_mm=stacked("t_mm", 3)),
        crop_from_image=stacked("crop_from_image", 2, 3),
        calibrated=torch.tensor([[bool(view["calibrated"]) for view in row] for row in usable]),
    )
