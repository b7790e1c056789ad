"""Residual trunks with GroupNorm: statistics do not depend on the batch, so workers need not share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Callable[[int], nn.Module]
"""Makes the normalisation of so many channels."""


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with 32 groups, 16 where there are less than 64 channels, or what divides the channels."""
    groups = 32 if channels >= 64 else 16
    while channels % groups:
        groups //= 2
    return nn.GroupNorm(groups, channels)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.residual = nn.Sequential(
            _conv(inputs, width, 3, stride),
            norm(width),
            nn.ReLU(inplace=True),
            _conv(width, outputs, 3),
            norm(outputs),
        )
        self.shortcut = _shortcut(inputs, outputs, stride, norm)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        """Apply the block."""
        return F.relu(self.residual(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 (strided), 1x1 convolutions around a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.residual = nn.Sequential(
            _conv(inputs, width, 1),
            norm(width),
            nn.ReLU(inplace=True),
            _conv(width, width, 3, stride),
            norm(width),
            nn.ReLU(inplace=True),
            _conv(width, outputs, 1),
            norm(outputs),
        )
        self.shortcut = _shortcut(inputs, outputs, stride, norm)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        """Apply the block."""
        return F.relu(self.residual(x) + self.shortcut(x))


def _shortcut(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(_conv(inputs, outputs, 1, stride), norm(outputs))


def create_resnet(name: Literal["resnet18", "resnet34", "resnet50"], width: int, norm: Norm) -> tuple[nn.Module, int]:
    """A ResNet trunk at 1/32 of the input's resolution, and its number of output channels."""
    block, depths = {
        "resnet18": (BasicBlock, (2, 2, 2, 2)),
        "resnet34": (BasicBlock, (3, 4, 6, 3)),
        "resnet50": (Bottleneck, (3, 4, 6, 3)),
    }[name]
    layers: list[nn.Module] = [
        _conv(3, width, 7, 2),
        norm(width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    channels = width
    for level, depth in enumerate(depths):
        for index in range(depth):
            stride = 2 if level > 0 and index == 0 else 1
            layers.append(block(channels, width * 2**level, stride, norm))
            channels = width * 2**level * block.expansion
    return nn.Sequential(*layers), channels


class TinyPyramid(nn.Module):
    """A trunk for CPUs: four residual blocks down to 1/16, and a top-down path back to half the input's side."""

    def __init__(self, width: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        widths = (width, 2 * width, 3 * width, 4 * width)
        self.stem = nn.Sequential(_conv(3, width, 5, 2), norm(width), nn.ReLU(inplace=True))
        self.blocks = nn.ModuleList(
            BasicBlock(inputs, outputs_, stride, norm)
            for inputs, outputs_, stride in zip((width, *widths[:-1]), widths, (1, 2, 2, 2), strict=True)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(channels, outputs, 1) for channels in widths)
        self.smooth = nn.Sequential(_conv(outputs, outputs, 3), norm(outputs), nn.ReLU(inplace=True))

    def forward(self, x: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        """Features at half the input's resolution."""
        levels: list[Tensor] = []
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
            levels.append(x)
        top = self.lateral[3](levels[3])
        for level in (2, 1, 0):
            finer = self.lateral[level](levels[level])
            top = finer + F.interpolate(top, size=finer.shape[-2:], mode="bilinear", align_corners=False)
        return self.smooth(F.relu(top))
