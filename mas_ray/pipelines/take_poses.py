"""A dataset's takes, each predicted: the unit of work of ``mas-ray predict``."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mas_ray.config.predict import OneEuro
from mas_ray.inference import PREDICTED_AT_ONCE, FrameSetEstimator, PosePrediction, joints_of_views
from mas_ray.reporting.smoothing import smoothed
from mas_ray.shards.location import location
from mas_ray.shards.manifest import read_manifest
from mas_ray.shards.read import read_take
from mas_ray.skeleton import Skeleton

PoseRow = dict[str, Any]
"""As ``reporting.poses.POSES`` has it."""


@dataclass(frozen=True, kw_only=True)
class TakePoses:
    """The poses of one take, in the order of its instants."""

    take_id: str
    rows: tuple[PoseRow, ...]


class TakePredictor:
    """Predicts takes of a dataset."""

    def __init__(self, estimator: FrameSetEstimator, *, manifest: str, smoothing: OneEuro | None) -> None:
        """Read the manifest, named by its path or URI; ``ValueError`` names the file if that fails."""
        self._estimator = estimator
        self._folder = location(manifest).parent
        self._manifest = read_manifest(location(manifest))
        self._smoothing = smoothing

    def __call__(self, take_id: str, advance: Callable[[int], None] | None = None) -> TakePoses:
        """Predict one take, telling how many frame sets more are done."""
        rows = self._rows(take_id, advance)
        return TakePoses(
            take_id=take_id, rows=tuple(rows if self._smoothing is None else smoothed(rows, self._smoothing))
        )

    def _rows(self, take_id: str, advance: Callable[[int], None] | None) -> Iterator[PoseRow]:
        frame_sets = read_take(self._folder, self._manifest, take_id)
        while some := list(itertools.islice(frame_sets, PREDICTED_AT_ONCE)):
            yield from pose_rows(self._estimator.predict(some, self._manifest.view_slots), self._estimator.skeleton)
            if advance is not None:
                advance(len(some))


def pose_rows(prediction: PosePrediction, skeleton: Skeleton) -> Iterator[PoseRow]:
    """What was predicted, row by row."""
    camera = joints_of_views(prediction, skeleton)
    for index, take_id in enumerate(prediction.take_id):
        yield {
            "take_id": take_id,
            "instant": prediction.instant[index],
            "timestamp_s": prediction.timestamp_s[index],
            "joints_world_mm": _known(prediction.joints_world_mm[index]),
            "views": [
                {
                    "name": view,
                    "keypoints_px": prediction.keypoints_px[index, v].tolist(),
                    "depth_mm": prediction.depth_mm[index, v].tolist(),
                    "confidence": prediction.confidence[index, v].tolist(),
                    "joints_camera_mm": _known(camera[index, v]),
                }
                for v, view in enumerate(prediction.views[index])
                if prediction.valid[index, v]
            ],
        }


def _known(joints: Any) -> list[list[float]] | None:
    return joints.tolist() if joints.isfinite().all() else None
