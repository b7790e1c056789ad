"""The keypoint detector phi: image in, volumetric heatmap, joints in NDC out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mas_ray.config.model import DetectorConfig
from mas_ray.geometry.integral import soft_argmax
from mas_ray.models.backbone import Norm, TinyPyramid, create_resnet, group_norm
from mas_ray.skeleton import Skeleton


@dataclass(frozen=True, kw_only=True, eq=False)
class Detection:
    """What the detector says of each image."""

    keypoints_ndc: Float[Tensor, "batch joints 2"]
    """Positions in the crop."""
    depth_ndc: Float[Tensor, "batch joints"]
    """Depth about the root joint as a share of ``DetectorConfig.depth_range_mm``."""
    confidence: Float[Tensor, "batch joints"]
    """How concentrated the heatmap is, in (0, 1]."""


class Detector(nn.Module):
    """Features to volumetric heatmaps to joints (integral regression)."""

    def __init__(self, features: nn.Module, heatmap: nn.Module, num_joints: int, heatmap_depth: int) -> None:
        super().__init__()
        self.features = features
        self.heatmap = heatmap
        self.num_joints = num_joints
        self.heatmap_depth = heatmap_depth

    def forward(self, images: Float[Tensor, "batch rgb height width"]) -> Detection:
        """Detect the joints in images of values 0 to 1. Autocast reaches the layers and ends before the soft-argmax."""
        logits = self.heatmap(self.features(images))
        volume = logits.unflatten(1, (self.num_joints, self.heatmap_depth))
        with torch.autocast(images.device.type, enabled=False):
            coordinates, confidence = soft_argmax(volume)
        return Detection(keypoints_ndc=coordinates[..., :2], depth_ndc=coordinates[..., 2], confidence=confidence)

    @torch.no_grad()
    def reorder_joints(self, order: Sequence[int]) -> None:
        """Let each joint take over the heatmap of the joint that ``order`` names for it."""
        for parameter in self.heatmap.parameters():
            parameter.copy_(parameter.unflatten(0, (self.num_joints, self.heatmap_depth))[list(order)].flatten(0, 1))


def create_detector(config: DetectorConfig, skeleton: Skeleton) -> Detector:
    """A detector with random weights (Kaiming)."""
    norm: Norm = group_norm if config.norm == "group" else nn.BatchNorm2d
    match config.backbone:
        case "tiny":
            features: nn.Module = TinyPyramid(config.width, config.head_width, norm)
        case "resnet18" | "resnet34" | "resnet50":
            trunk, channels = create_resnet(config.backbone, config.width, norm)
            features = nn.Sequential(trunk, _deconvolutions(channels, config.head_width, norm))
    heatmap = nn.Conv2d(config.head_width, skeleton.num_joints * config.heatmap_depth, 1)
    detector = Detector(features, heatmap, skeleton.num_joints, config.heatmap_depth)
    for module in detector.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(heatmap.weight, std=0.01)
    return detector


def _deconvolutions(channels: int, width: int, norm: Norm) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs in (channels, width, width):
        layers += [
            nn.ConvTranspose2d(inputs, width, 4, stride=2, padding=1, bias=False),
            norm(width),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
