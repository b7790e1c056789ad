"""The detector alone, by operations that other runtimes know: what leaves the project."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mas_ray.geometry.integral import plain_soft_argmax
from mas_ray.models.detector import Detector

OUTPUTS = ("keypoints_ndc", "depth_mm", "confidence")
"""What comes out, in order: (pictures, joints, 2), x right, y down, -1 and 1 at the picture's edges; (pictures, joints)
about the root joint along the optical axis; (pictures, joints), 0 to 1."""

Outputs = tuple[
    Float[Tensor, "pictures joints 2"],
    Float[Tensor, "pictures joints"],
    Float[Tensor, "pictures joints"],
]


class PictureDetector(nn.Module):
    """A detector whose names and units are final: left and right as the checkpoint calls them, millimetres."""

    def __init__(self, detector: Detector, *, joint_order: Sequence[int], depth_range_mm: float) -> None:
        """Share a detector's layers.

        Args:
            detector: Trained.
            joint_order: For each joint the heatmap that is its.
            depth_range_mm: Of ``DetectorConfig``.
        """
        super().__init__()
        self.detector = detector
        self.depth_range_mm = depth_range_mm
        self.register_buffer("joint_order", torch.tensor(joint_order), persistent=False)

    def forward(self, image: Float[Tensor, "pictures rgb height width"]) -> Outputs:
        """``OUTPUTS`` of square pictures around one person each, RGB, values 0 to 1."""
        logits = self.detector.heatmap(self.detector.features(image))
        volume = logits.unflatten(1, (self.detector.num_joints, self.detector.heatmap_depth))
        coordinates, confidence = plain_soft_argmax(volume.index_select(1, self.get_buffer("joint_order")))
        return coordinates[..., :2], coordinates[..., 2] * self.depth_range_mm, confidence
