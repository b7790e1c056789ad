"""What training does to its host: processor, memory and GPU of one worker, epoch by epoch."""

from __future__ import annotations

import importlib.util
import time

import psutil
import torch

_GIB = 2**30
_SAMPLE_EVERY_S = 1.0  # NVML's own figure is a mean over about as long


class HostFigures:
    """Measures this process; ``sample`` once per step, ``take`` once per epoch."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._process = psutil.Process()
        self._measures_load = device.type == "cuda" and _tells_load(device)
        self._begin()

    def sample(self) -> None:
        """Look at what changes within an epoch; costs nothing but once a second."""
        now_s = time.monotonic()
        if now_s - self._sampled_s < _SAMPLE_EVERY_S:
            return
        self._sampled_s = now_s
        self._memory_bytes = max(self._memory_bytes, self._process.memory_info().rss)
        if self._measures_load:
            self._load_percent.append(torch.cuda.utilization(self._device))

    def take(self) -> dict[str, float]:
        """The figures since the last time, named ``system/...``; those of a GPU where the worker has one.

        ``cpu_percent`` is of one core, for this process alone; ``host_cpu_percent`` of all cores, whoever uses them.
        Memory is what was held at most, the GPU's as torch allocated it.
        """
        self._sampled_s = -_SAMPLE_EVERY_S
        self.sample()
        figures = {
            "system/cpu_percent": float(self._process.cpu_percent()),
            "system/host_cpu_percent": float(psutil.cpu_percent()),
            "system/memory_gib": self._memory_bytes / _GIB,
        }
        if self._device.type == "cuda":
            figures["system/gpu_memory_gib"] = torch.cuda.max_memory_allocated(self._device) / _GIB
        if self._load_percent:
            figures["system/gpu_percent"] = sum(self._load_percent) / len(self._load_percent)
        self._begin()
        return figures

    def _begin(self) -> None:
        self._sampled_s = time.monotonic()
        self._memory_bytes = 0
        self._load_percent: list[float] = []
        self._process.cpu_percent()  # both count from the call before
        psutil.cpu_percent()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)


def _tells_load(device: torch.device) -> bool:
    """Whether NVML is there and knows the load of the device; it does not of a part of a GPU (MIG)."""
    if importlib.util.find_spec("pynvml") is None:
        return False
    try:
        torch.cuda.utilization(device)
    except Exception:  # NVML has errors of its own; a figure is no reason to stop a training
        return False
    return True
