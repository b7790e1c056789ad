"""A pinhole camera in OpenCV's convention. Images are undistorted at ingest, so it has no distortion."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """One camera, or a batch of cameras, of undistorted images."""

    K: Float[Tensor, "*batch 3 3"]
    """image_from_camera, pixels."""
    R: Float[Tensor, "*batch 3 3"]
    """camera_from_world."""
    t_mm: Float[Tensor, "*batch 3"]
    """camera_from_world translation."""

    def camera_from_world(self, points_world_mm: Float[Tensor, "*batch joints 3"]) -> Float[Tensor, "*batch joints 3"]:
        """Points in this camera's frame (x right, y down, z forward), millimetres."""
        return points_world_mm @ self.R.transpose(-1, -2) + self.t_mm.unsqueeze(-2)

    def world_from_camera(self, points_camera_mm: Float[Tensor, "*batch joints 3"]) -> Float[Tensor, "*batch joints 3"]:
        """Inverse of ``camera_from_world``."""
        return (points_camera_mm - self.t_mm.unsqueeze(-2)) @ self.R

    def project(self, points_world_mm: Float[Tensor, "*batch joints 3"]) -> Float[Tensor, "*batch joints 2"]:
        """Pixel positions of world points. Points at or behind the camera plane are clamped to 1 mm of depth."""
        points = self.camera_from_world(points_world_mm)
        homogeneous = points @ self.K.transpose(-1, -2)
        return homogeneous[..., :2] / points[..., 2:].clamp_min(1.0)

    def unproject(
        self, keypoints_px: Float[Tensor, "*batch joints 2"], depth_mm: Float[Tensor, "*batch joints"]
    ) -> Float[Tensor, "*batch joints 3"]:
        """World points that project to ``keypoints_px`` at ``depth_mm`` along the optical axis."""
        ones = torch.ones_like(keypoints_px[..., :1])
        rays = torch.cat([keypoints_px, ones], dim=-1) @ torch.linalg.inv(self.K).transpose(-1, -2)
        return self.world_from_camera(rays * depth_mm.unsqueeze(-1))

    def after_crop(self, crop_from_image: Float[Tensor, "*batch 2 3"]) -> Camera:
        """The camera of the cropped image: K with the affine applied after it."""
        last = torch.zeros_like(crop_from_image[..., :1, :])
        last[..., 0, 2] = 1.0
        return Camera(K=torch.cat([crop_from_image, last], dim=-2) @ self.K, R=self.R, t_mm=self.t_mm)
