"""PoseEstimator: a checkpoint as a function from frame sets to poses. The entry door for everyone who predicts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mas_ray.batch import Batch, collate
from mas_ray.checkpoint import Checkpoint, load_checkpoint
from mas_ray.config.cascade import StageConfig
from mas_ray.geometry.affine import apply_affine, invert_affine
from mas_ray.geometry.naming import search_names, swap_sides
from mas_ray.geometry.triangulation import triangulate
from mas_ray.models.detector import Detection, create_detector
from mas_ray.models.shape_prior import create_shape_prior
from mas_ray.rendering.skeleton_mask import skeleton_mask, stage_bones
from mas_ray.shards.manifest import SplitName, read_manifest
from mas_ray.shards.read import read_dataset, read_split
from mas_ray.skeleton import Skeleton

_BATCH_SIZE = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class PosePrediction:
    """Poses of some frame sets. NaN where a view is absent."""

    take_id: tuple[str, ...]
    instant: tuple[int, ...]
    timestamp_s: tuple[float, ...]
    views: tuple[tuple[str, ...], ...]
    """For each frame, the names along the views axis; it may have fewer than the axis has places."""
    keypoints_px: Float[Tensor, "frames views joints 2"]
    """In pixels of the undistorted source image."""
    keypoints_crop_ndc: Float[Tensor, "frames views joints 2"]
    """In NDC of the square crop."""
    depth_mm: Float[Tensor, "frames views joints"]
    """Depth about the root joint along the camera's optical axis, as each view alone predicts it."""
    confidence: Float[Tensor, "frames views joints"]
    """How concentrated the heatmap is, 0 to 1."""
    valid: Bool[Tensor, "frames views"]
    joints_world_mm: Float[Tensor, "frames joints 3"]
    """Triangulated; NaN with fewer than two calibrated views."""


class PoseEstimator:
    """The detector of a checkpoint, ready to predict."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        cascade = checkpoint.job.cascade
        self.cascade = cascade
        self.skeleton: Skeleton = checkpoint.skeleton
        self.stage: StageConfig = cascade.stages[checkpoint.progress.stage]
        self.progress = checkpoint.progress
        self._detector = create_detector(cascade.detector, checkpoint.skeleton)
        self._detector.load_state_dict(checkpoint.detector)
        self._detector.eval().requires_grad_(False)
        self._shape_prior = create_shape_prior(cascade.shape_prior)
        self._shape_prior.load_state_dict(checkpoint.shape_prior)
        self._shape_prior.eval().requires_grad_(False)

    @classmethod
    def load(cls, checkpoint: Path) -> PoseEstimator:
        """Load a checkpoint folder; ``ValueError`` names what is wrong with it."""
        return cls(load_checkpoint(checkpoint))

    def predict_dataset(self, manifest: Path, split: SplitName | None = None) -> Iterator[PosePrediction]:
        """Predict a dataset's frame sets (of one split, or all) in order, some at a time."""
        content = read_manifest(manifest)
        slots = content.view_slots
        stream = read_split(manifest.parent, content, split) if split else read_dataset(manifest.parent, content)
        while rows := list(itertools.islice(stream, _BATCH_SIZE)):
            batch = collate(rows, slots, self.cascade)
            yield self._predict(
                batch,
                views=tuple(slots[row["take_id"]] for row in rows),
                take_id=tuple(row["take_id"] for row in rows),
                instant=tuple(row["instant"] for row in rows),
                timestamp_s=tuple(row["timestamp_s"] for row in rows),
            )

    def render(
        self, keypoints_crop_ndc: Float[Tensor, "*batch joints 2"]
    ) -> tuple[Float[Tensor, "*batch rows columns"], Float[Tensor, "*batch rows columns"]]:
        """The skeleton mask and the physique mask of keypoints, as the checkpoint's stage draws them."""
        bones, widths = stage_bones(self.stage, self.skeleton)
        drawn = skeleton_mask(keypoints_crop_ndc, bones, widths, size=self.cascade.mask_size)
        physique = self._shape_prior(drawn.reshape(-1, *drawn.shape[-2:])).reshape(drawn.shape)
        return drawn, physique

    def _predict(
        self,
        batch: Batch,
        *,
        views: tuple[tuple[str, ...], ...],
        take_id: tuple[str, ...],
        instant: tuple[int, ...],
        timestamp_s: tuple[float, ...],
    ) -> PosePrediction:
        shape = batch.valid.shape
        detection: Detection = self._detector(batch.image.flatten(0, 1))
        keypoints = detection.keypoints_ndc.unflatten(0, shape)
        depth = detection.depth_ndc.unflatten(0, shape)
        confidence = detection.confidence.unflatten(0, shape)
        used = batch.valid & batch.calibrated
        weight = used.unsqueeze(-1).expand(keypoints.shape[:-1]).float()
        if self.cascade.resolve_names and shape[1] > 1:
            swap = search_names(keypoints, batch.camera, weight, self.skeleton)
            stacked = torch.cat([keypoints, depth[..., None], confidence[..., None]], dim=-1)
            stacked = swap_sides(stacked, swap, self.skeleton)
            keypoints, depth, confidence = stacked[..., :2], stacked[..., 2], stacked[..., 3]
        joints = triangulate(keypoints, batch.camera, weight)
        triangulated = used.sum(-1) >= 2
        absent = ~batch.valid[..., None]
        image_from_ndc = invert_affine(batch.ndc_from_image)
        return PosePrediction(
            take_id=take_id,
            instant=instant,
            timestamp_s=timestamp_s,
            views=views,
            keypoints_px=apply_affine(image_from_ndc, keypoints).masked_fill(absent[..., None], torch.nan),
            keypoints_crop_ndc=keypoints.masked_fill(absent[..., None], torch.nan),
            depth_mm=(depth * self.cascade.detector.depth_range_mm).masked_fill(absent, torch.nan),
            confidence=confidence.masked_fill(absent, torch.nan),
            valid=batch.valid,
            joints_world_mm=joints.masked_fill(~triangulated[:, None, None], torch.nan),
        )
