"""Cameras and points for geometry tests."""

import math

import torch

from mas_ray.geometry.camera import Camera


def ring(num_views: int, dtype: torch.dtype = torch.float64) -> Camera:
    """Cameras on a ring of 4.5 m looking at a point one metre above the origin."""
    rotations, translations = [], []
    for view in range(num_views):
        angle = 2 * math.pi * view / max(num_views, 4) + 0.3  # two views at a right angle
        centre = torch.tensor([4500 * math.cos(angle), 4500 * math.sin(angle), 1400.0], dtype=dtype)
        forward = torch.tensor([0.0, 0.0, 1000.0], dtype=dtype) - centre
        forward = forward / forward.norm()
        right = torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0], dtype=dtype))
        right = right / right.norm()
        rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
        rotations.append(rotation)
        translations.append(-rotation @ centre)
    K = torch.tensor([[1100.0, 0, 500], [0, 1120.0, 490], [0, 0, 1]], dtype=dtype)
    return Camera(K=K.expand(num_views, 3, 3), R=torch.stack(rotations), t_mm=torch.stack(translations))


def people(*batch: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Random points in a person-sized box."""
    generator = torch.Generator().manual_seed(0)
    box = torch.tensor([800.0, 800.0, 1800.0], dtype=dtype)
    return torch.rand(*batch, 18, 3, generator=generator, dtype=dtype) * box
