"""Cameras and points for geometry tests."""

import math

import torch
from torch.nn import functional as F

from mas_ray.geometry.camera import Camera


def ring(num_views: int, dtype: torch.dtype = torch.float64) -> Camera:
    """Cameras on a ring of 4.5 m looking at a point one metre above the origin."""
    angles = [2 * math.pi * view / max(num_views, 4) + 0.3 for view in range(num_views)]  # two views at a right angle
    centres_mm = torch.tensor([[4500 * math.cos(a), 4500 * math.sin(a), 1400.0] for a in angles], dtype=torch.float64)
    return _looking_at_the_middle(centres_mm, dtype)


def hall(dtype: torch.dtype = torch.float64) -> Camera:
    """Four cameras near the corners of an oblong hall like Human3.6M's: no two equally far from its middle."""
    centres_mm = torch.tensor(
        [[1840.0, 4960.0, 1560.0], [1760.0, -5080.0, 1610.0], [-1850.0, 5220.0, 1490.0], [-1790.0, -3720.0, 1570.0]],
        dtype=torch.float64,
    )
    return _looking_at_the_middle(centres_mm, dtype)


def people(*batch: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Random points in a person-sized box."""
    generator = torch.Generator().manual_seed(0)
    box = torch.tensor([800.0, 800.0, 1800.0], dtype=dtype)
    return torch.rand(*batch, 18, 3, generator=generator, dtype=dtype) * box


def for_batch(camera: Camera, *batch: int) -> Camera:
    """The same rig for every entry of a batch."""
    return Camera(
        K=camera.K.expand(*batch, *camera.K.shape),
        R=camera.R.expand(*batch, *camera.R.shape),
        t_mm=camera.t_mm.expand(*batch, *camera.t_mm.shape),
    )


def _looking_at_the_middle(centres_mm: torch.Tensor, dtype: torch.dtype) -> Camera:
    forward = F.normalize(centres_mm.new_tensor([0.0, 0.0, 1000.0]) - centres_mm, dim=-1)
    right = F.normalize(torch.linalg.cross(forward, centres_mm.new_tensor([[0.0, 0.0, 1.0]])), dim=-1)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=-2)
    translation = -(rotation @ centres_mm[..., None]).squeeze(-1)
    K = torch.tensor([[1100.0, 0, 500], [0, 1120.0, 490], [0, 0, 1]], dtype=dtype)
    return Camera(K=K.expand(len(centres_mm), 3, 3), R=rotation.to(dtype), t_mm=translation.to(dtype))
