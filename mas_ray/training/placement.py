"""What depends on the device of a training step: memory format, autocast, exact repetition.

The decisions are functions of the device alone, so that those for GPUs can be checked without one.
"""

from __future__ import annotations

import os

import torch

from mas_ray.config.jobs import Precision


def image_format(device: torch.device) -> torch.memory_format:
    """Of images and convolutions: channels last on CUDA, whose bfloat16 convolutions want it; elsewhere as always."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def layers_autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Where the networks' layers compute; nothing else does."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def repeat_exactly() -> None:
    """Let this process use only algorithms that give the same bits again, to be called before its first CUDA work.

    From then on an operation that has no such algorithm is a RuntimeError that names it.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
    torch.use_deterministic_algorithms(True)
