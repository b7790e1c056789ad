"""FrameSetEstimator: a checkpoint as a function from frame sets to poses. The entry door for everyone who predicts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mas_ray.batch import Batch, collate
from mas_ray.checkpoint import load_checkpoint
from mas_ray.config.cascade import CascadeConfig
from mas_ray.config.stage import StageConfig
from mas_ray.geometry.affine import apply_affine, invert_affine
from mas_ray.geometry.naming import search_names, swap_sides
from mas_ray.geometry.triangulation import triangulate
from mas_ray.geometry.weak_perspective import lift
from mas_ray.models.detector import Detection, Detector, create_detector
from mas_ray.models.picture_detector import PictureDetector
from mas_ray.models.shape_prior import ShapePriorNetwork, create_shape_prior
from mas_ray.rendering.skeleton_mask import skeleton_mask, stage_bones
from mas_ray.shards.location import Location
from mas_ray.shards.manifest import SplitName, read_manifest
from mas_ray.shards.read import read_dataset, read_split
from mas_ray.skeleton import Skeleton

PREDICTED_AT_ONCE = 16
"""Frame sets; how many decides the last digits of what is predicted."""


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


STATURE_MM = 1700.0
_BONES_PER_STATURE = 2.5
"""The bones of the tree together, by the segment lengths of Drillis and Contini (1966); people differ by a tenth."""


def joints_of_views(prediction: PosePrediction, skeleton: Skeleton) -> Float[Tensor, "frames views joints 3"]:
    """Each view's own pose about its root, in its camera's axes (x right, y down, z away), millimetres.

    A single view knows no scale: that of a person of 1.7 m (``STATURE_MM``) is taken, by weak perspective. NaN where a
    view is absent or no scale explains it.
    """
    return lift(
        prediction.keypoints_px,
        prediction.depth_mm,
        parents=skeleton.parents,
        bones_mm=_BONES_PER_STATURE * STATURE_MM,
    )


class Joints(NamedTuple):
    """What the networks say of a batch, views that are not there included."""

    keypoints_ndc: Float[Tensor, "batch views joints 2"]
    depth_ndc: Float[Tensor, "batch views joints"]
    confidence: Float[Tensor, "batch views joints"]
    world_mm: Float[Tensor, "batch joints 3"]
    """Triangulated; NaN with fewer than two calibrated views."""


class FrameSetEstimator:
    """Trained networks of one stage, ready to predict."""

    def __init__(
        self,
        detector: Detector,
        shape_prior: ShapePriorNetwork,
        *,
        stage: StageConfig,
        cascade: CascadeConfig,
        skeleton: Skeleton,
        exchange_sides: bool = False,
    ) -> None:
        """Take over the networks, which are then in evaluation mode.

        Args:
            detector: The detector.
            shape_prior: The shape prior network.
            stage: The stage that trained them last.
            cascade: The cascade that the stage is of.
            skeleton: The skeleton.
            exchange_sides: Call left what the networks call right: the global bit that masks leave open.
        """
        self.stage = stage
        self.cascade = cascade
        self.skeleton = skeleton
        self._order = list(skeleton.mirror_permutation if exchange_sides else range(skeleton.num_joints))
        self._detector = detector.eval()
        self._shape_prior = shape_prior.eval()

    @classmethod
    def load(cls, checkpoint: Path) -> FrameSetEstimator:
        """Load a checkpoint folder; ``ValueError`` names what is wrong with it."""
        found = load_checkpoint(checkpoint)
        cascade = found.job.cascade
        detector = create_detector(cascade.detector, found.skeleton)
        detector.load_state_dict(found.detector)
        shape_prior = create_shape_prior(cascade.shape_prior)
        shape_prior.load_state_dict(found.shape_prior)
        return cls(
            detector,
            shape_prior,
            stage=cascade.stages[found.progress.stage],
            cascade=cascade,
            skeleton=found.skeleton,
            exchange_sides=found.progress.knee_chirality is not None and found.progress.knee_chirality.says_swapped,
        )

    def to(self, device: torch.device) -> None:
        """Compute there from now on; what comes out is where the input was."""
        self._detector.to(device)
        self._shape_prior.to(device)

    def picture_detector(self) -> PictureDetector:
        """The detector for single pictures, whose layers it shares, as other runtimes take it."""
        return PictureDetector(
            self._detector,
            joint_order=self._order,
            depth_range_mm=self.cascade.detector.depth_range_mm,
        ).eval()

    def predict_dataset(self, manifest: Location, split: SplitName | None = None) -> Iterator[PosePrediction]:
        """Predict a dataset's frame sets (of one split, or all) in order, some at a time."""
        content = read_manifest(manifest)
        stream = read_split(manifest.parent, content, split) if split else read_dataset(manifest.parent, content)
        while rows := list(itertools.islice(stream, PREDICTED_AT_ONCE)):
            yield self.predict(rows, content.view_slots)

    def predict(self, rows: Sequence[Mapping[str, Any]], view_slots: Mapping[str, tuple[str, ...]]) -> PosePrediction:
        """Predict some frame sets at once.

        Args:
            rows: Frame sets as ``shards.read`` gives them.
            view_slots: Per take its views in the order of the views axis, as ``Manifest.view_slots``.
        """
        batch = collate(rows, view_slots, self.cascade)
        keypoints, depth, confidence, joints = self.detect(batch)
        absent = ~batch.valid[..., None]
        image_from_ndc = invert_affine(batch.ndc_from_image)
        return PosePrediction(
            take_id=tuple(row["take_id"] for row in rows),
            instant=tuple(row["instant"] for row in rows),
            timestamp_s=tuple(row["timestamp_s"] for row in rows),
            views=tuple(view_slots[row["take_id"]] for row in rows),
            keypoints_px=apply_affine(image_from_ndc, keypoints).masked_fill(absent[..., None], torch.nan),
            keypoints_crop_ndc=keypoints.masked_fill(absent[..., None], torch.nan),
            depth_mm=(depth * self.cascade.detector.depth_range_mm).masked_fill(absent, torch.nan),
            confidence=confidence.masked_fill(absent, torch.nan),
            valid=batch.valid,
            joints_world_mm=joints,
        )

    @torch.no_grad()
    def render(
        self, keypoints_crop_ndc: Float[Tensor, "*batch joints 2"], *, with_arms: bool = True
    ) -> tuple[Float[Tensor, "*batch rows columns"], Float[Tensor, "*batch rows columns"]]:
        """The skeleton mask and the physique mask of keypoints, as the stage draws them, or without the arms."""
        bones, widths = stage_bones(self.stage, self.skeleton)
        if not with_arms:
            arms = [n for n, joint in enumerate(self.skeleton.joints) if joint.endswith(("elbow", "wrist"))]
            kept = ~torch.isin(bones, torch.tensor(arms)).any(-1)
            bones, widths = bones[kept], widths[kept]
        cascade = self.cascade
        drawn = skeleton_mask(keypoints_crop_ndc, bones, widths, size=cascade.mask_size, merge=cascade.bone_merge)
        physique = self._shape_prior(drawn.reshape(-1, *drawn.shape[-2:])).reshape(drawn.shape)
        return drawn, physique

    @torch.no_grad()
    def detect(self, batch: Batch) -> Joints:
        """Detect, name and triangulate a batch's joints, on the networks' device; the result is on the batch's."""
        home = batch.image.device
        batch = batch.to(next(self._detector.parameters()).device)
        shape = batch.valid.shape
        detection: Detection = self._detector(batch.image.flatten(0, 1))
        keypoints = detection.keypoints_ndc.unflatten(0, shape)[..., self._order, :]
        depth = detection.depth_ndc.unflatten(0, shape)[..., self._order]
        confidence = detection.confidence.unflatten(0, shape)[..., self._order]
        used = batch.valid & batch.calibrated
        weight = used.unsqueeze(-1).expand(keypoints.shape[:-1]).float()
        if self.stage.resolve_names:
            swap = search_names(keypoints, batch.camera, weight, self.skeleton)
            stacked = torch.cat([keypoints, depth[..., None], confidence[..., None]], dim=-1)
            stacked = swap_sides(stacked, swap, self.skeleton)
            keypoints, depth, confidence = stacked[..., :2], stacked[..., 2], stacked[..., 3]
        joints = triangulate(keypoints, batch.camera, weight)
        triangulated = used.sum(-1) >= 2
        joints = joints.masked_fill(~triangulated[:, None, None], torch.nan)
        return Joints(keypoints.to(home), depth.to(home), confidence.to(home), joints.to(home))
