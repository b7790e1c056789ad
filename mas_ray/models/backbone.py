"""Residual trunks with GroupNorm: statistics do not depend on the batch, so workers need not share them."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
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


def load_backbone(trunk: nn.Module, path: Path, *, sha256: str) -> None:
    """Give a ResNet trunk the weights in a file: a state dict of torchvision's ResNet, or of such a trunk itself.

    All convolutions are taken over, and with them the normalisation where it is of the same kind. Where the file has
    BatchNorm and the trunk GroupNorm, GroupNorm's scales and offsets stay as they are: those in the file belong to
    other statistics. A classifier (``fc``) is ignored.

    Nothing is done about the scale of images. ImageNet's weights saw each channel less its mean, divided by its
    deviation; the detector's images are 0 to 1.

    Args:
        trunk: What ``create_resnet`` made, of the file's depth and width.
        path: The file; tensors only are read, so that it cannot bring code.
        sha256: Its expected SHA-256, checked before anything is read from it.

    Raises:
        ValueError: The file is missing, has another hash, holds no state dict, or a tensor is missing, has another
            shape or has no place in the trunk; the message names file and tensor. The trunk is as it was.
    """
    weights = _read_weights(path, sha256)
    names = _torchvision_names(trunk)
    if "0.weight" in weights:
        names = {name: name for name in names}
    has_batch_norm = any(name.endswith(".running_mean") for name in weights)
    loaded: dict[str, Tensor] = {}
    for name, ours in trunk.state_dict().items():
        layer, _, kind = name.rpartition(".")
        if kind == "num_batches_tracked" or (has_batch_norm and isinstance(trunk.get_submodule(layer), nn.GroupNorm)):
            continue
        theirs = f"{names[layer]}.{kind}"
        if theirs not in weights:
            raise ValueError(f"{path}: {theirs} is missing")
        if weights[theirs].shape != ours.shape:
            raise ValueError(f"{path}: {theirs} has shape {tuple(weights[theirs].shape)}, expected {tuple(ours.shape)}")
        loaded[name] = weights[theirs]
    known = {*names.values(), "fc"}
    for theirs in weights:
        if theirs.rpartition(".")[0] not in known:
            raise ValueError(f"{path}: {theirs} has no place in this backbone")
    trunk.load_state_dict(loaded, strict=False)


def _read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(f"{path}: has SHA-256 {found}, expected {sha256}")
    try:
        weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: not a file of tensors: {str(error).splitlines()[0]}") from None
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise ValueError(f"{path}: expected a state dict (names to tensors)")
    return weights


def _torchvision_names(trunk: nn.Module) -> dict[str, str]:
    """For each layer of a trunk that has weights, by its name here, its name in torchvision's ResNet."""
    names = {"0": "conv1", "1": "bn1"}
    stage, index = 1, 0
    for child, block in trunk.named_children():
        if not isinstance(block, (BasicBlock, Bottleneck)):
            continue
        convolutions = {at: layer for at, layer in enumerate(block.residual) if isinstance(layer, nn.Conv2d)}
        if any(layer.stride == (2, 2) for layer in convolutions.values()):  # the first block of every later stage
            stage, index = stage + 1, 0
        theirs = f"layer{stage}.{index}"
        for number, at in enumerate(convolutions, start=1):
            names[f"{child}.residual.{at}"] = f"{theirs}.conv{number}"
            names[f"{child}.residual.{at + 1}"] = f"{theirs}.bn{number}"
        if isinstance(block.shortcut, nn.Sequential):
            names[f"{child}.shortcut.0"] = f"{theirs}.downsample.0"
            names[f"{child}.shortcut.1"] = f"{theirs}.downsample.1"
        index += 1
    return names


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
