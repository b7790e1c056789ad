"""Predictions beside the reference of the same frame sets, brought into the same frames and units.

NaN marks what is missing on either side: an absent or uncalibrated view, an invalid reference joint, a pose that
could not be triangulated. A joint counts where both sides are finite.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mas_ray.evaluation.left_right import exchange_sides
from mas_ray.geometry.camera import Camera
from mas_ray.geometry.pixel_grid import ndc_from_pixel
from mas_ray.inference import PosePrediction
from mas_ray.skeleton import Skeleton

_WITHOUT_VIEWS = ("triangulated_mm", "reference_mm")


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewGeometry:
    """Where the views of a batch of frame sets look. What uncalibrated views hold is not read."""

    camera: Camera
    """Of the undistorted source images, batch shape ``frames views``."""
    crop_from_image: Float[Tensor, "frames views 2 3"]
    calibrated: Bool[Tensor, "frames views"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Predicted and reference joints of the same frame sets."""

    keypoints_ndc: Float[Tensor, "frames views joints 2"]
    """NDC of the crop."""
    keypoints_px: Float[Tensor, "frames views joints 2"]
    """Pixels of the undistorted source image."""
    monocular_mm: Float[Tensor, "frames views joints 3"]
    """World positions from one view's keypoints and depths alone, placed at the reference root's depth."""
    triangulated_mm: Float[Tensor, "frames joints 3"]
    reference_ndc: Float[Tensor, "frames views joints 2"]
    reference_px: Float[Tensor, "frames views joints 2"]
    reference_mm: Float[Tensor, "frames joints 3"]
    two_metres_px: Float[Tensor, "frames views 2"]
    """Width and height of a square of two metres at the reference root's depth, in pixels of the source image."""

    def of_frames(self, chosen: Bool[Tensor, " frames"]) -> Comparison:
        """The frames where ``chosen`` is True."""
        return Comparison(**{field.name: getattr(self, field.name)[chosen] for field in dataclasses.fields(self)})

    def with_sides_exchanged(self, swap: Bool[Tensor, " frames"], skeleton: Skeleton) -> Comparison:
        """The same with left and right exchanged in the predictions of the frames where ``swap`` is True."""
        return dataclasses.replace(
            self,
            keypoints_ndc=exchange_sides(self.keypoints_ndc, swap, skeleton),
            keypoints_px=exchange_sides(self.keypoints_px, swap, skeleton),
            monocular_mm=exchange_sides(self.monocular_mm, swap, skeleton),
            triangulated_mm=exchange_sides(self.triangulated_mm, swap, skeleton),
        )


def compare(
    prediction: PosePrediction,
    geometry: ViewGeometry,
    *,
    reference_mm: Float[Tensor, "frames joints 3"],
    crop_size_px: int,
    root: int,
) -> Comparison:
    """Bring a batch of predictions and its reference together.

    Args:
        prediction: Predictions of the frame sets.
        geometry: Their views, in the order of ``prediction.views``.
        reference_mm: Reference joints in the world; NaN where there are none.
        crop_size_px: Side of the square crop.
        root: Index of the root joint.
    """
    camera = geometry.camera
    num_views = geometry.calibrated.shape[1]
    reference_mm = reference_mm.double()
    in_views = reference_mm.unsqueeze(1).expand(-1, num_views, -1, -1)
    seen = torch.where(geometry.calibrated[..., None, None], in_views, torch.nan)
    keypoints_px = prediction.keypoints_px.double()
    root_depth_mm = camera.camera_from_world(seen)[..., root : root + 1, 2]
    crop_px = camera.after_crop(geometry.crop_from_image).project(seen)
    return Comparison(
        keypoints_ndc=prediction.keypoints_crop_ndc.double(),
        keypoints_px=keypoints_px,
        monocular_mm=camera.unproject(keypoints_px, root_depth_mm + prediction.depth_mm.double()),
        triangulated_mm=prediction.joints_world_mm.double(),
        reference_ndc=ndc_from_pixel(crop_px, crop_size_px),
        reference_px=camera.project(seen),
        reference_mm=reference_mm,
        two_metres_px=2000.0 * camera.K.diagonal(dim1=-2, dim2=-1)[..., :2] / root_depth_mm,
    )


def concatenate(comparisons: Sequence[Comparison]) -> Comparison:
    """One comparison of all frames; where the numbers of views differ, absent ones fill up."""
    num_views = max(comparison.keypoints_px.shape[1] for comparison in comparisons)

    def joined(name: str) -> Tensor:
        parts = [getattr(comparison, name) for comparison in comparisons]
        return torch.cat(parts if name in _WITHOUT_VIEWS else [_with_views(part, num_views) for part in parts])

    return Comparison(**{field.name: joined(field.name) for field in dataclasses.fields(Comparison)})


def _with_views(values: Float[Tensor, "frames views *axes"], num_views: int) -> Tensor:
    missing = values.new_full((len(values), num_views - values.shape[1], *values.shape[2:]), torch.nan)
    return torch.cat([values, missing], dim=1)
