"""Sizes of the two networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class BackboneWeights:
    """A local file of weights that a ResNet backbone starts from (``models.backbone.load_backbone``)."""

    path: str
    """Absolute: workers have a working directory of their own. Training reads it, prediction never."""
    sha256: str
    """Expected SHA-256 of the file; a mismatch is an error."""

    def __post_init__(self) -> None:
        if not Path(self.path).is_absolute():
            raise ValueError(f"path: expected an absolute path, got {self.path!r}")


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """The keypoint detector phi: a ResNet with GroupNorm, a deconvolution head, a volumetric heatmap."""

    backbone: Literal["resnet18", "resnet34", "resnet50", "tiny"] = "resnet50"
    """``tiny``: four residual blocks with a top-down path, for CPUs; its heatmap has half the input's side."""
    width: int = 64
    """Channels of the first residual stage (64 in the original networks)."""
    head_width: int = 256
    """Channels of the head (the deconvolutions, or tiny's top-down path)."""
    input_size: int = 256
    """Side of the square input image in pixels."""
    heatmap_size: int = 64
    """Side of the heatmap in cells."""
    heatmap_depth: int = 64
    """Cells of the heatmap along depth."""
    depth_range_mm: float = 1000.0
    """The depth axis spans plus and minus this distance about the root joint."""
    norm: Literal["group", "batch"] = "group"
    """Normalisation of the detector's layers. GroupNorm does not depend on the batch, so workers need not share it."""
    background: Literal["removed", "kept"] = "removed"
    """Whether the input image is multiplied by the person mask, in training and ever after."""
    backbone_weights: BackboneWeights | None = None
    """What a ResNet backbone starts from; None: random weights."""

    def __post_init__(self) -> None:
        if self.backbone_weights is not None and self.backbone == "tiny":
            raise ValueError(f"backbone_weights: expected none for {self.backbone}, only ResNets have them")
        if self.input_size % 32:
            raise ValueError(f"input_size: expected a multiple of 32, got {self.input_size}")
        expected = self.input_size // (2 if self.backbone == "tiny" else 4)
        if self.heatmap_size != expected:
            raise ValueError(
                f"heatmap_size: {self.backbone} makes {expected} of input_size {self.input_size}, "
                f"got {self.heatmap_size}"
            )


@dataclass(frozen=True, kw_only=True)
class ShapePriorConfig:
    """The shape prior network psi: skeleton mask in, physique mask out."""

    widths: tuple[int, ...] = (32, 64)
    """Channels per level; each level after the first halves the resolution."""
