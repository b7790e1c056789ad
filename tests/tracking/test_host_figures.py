import time

import pytest
import torch

from mas_ray.tracking import host_figures as module
from mas_ray.tracking.host_figures import HostFigures

GIB = 2**30


def test_work_and_memory_of_an_epoch_show(monkeypatch):
    monkeypatch.setattr(module, "_SAMPLE_EVERY_S", 0.0)
    host = HostFigures(torch.device("cpu"))
    time.sleep(0.3)
    idle = host.take()
    held = torch.ones(64 * 2**20)  # 256 MiB, gone again before the epoch ends
    host.sample()
    del held
    begun_s, end = time.monotonic(), time.process_time() + 0.3
    while time.process_time() < end:
        pass
    busy = host.take()
    share = 0.3 / (time.monotonic() - begun_s)  # other processes may have had the rest
    assert set(busy) == {"system/cpu_percent", "system/host_cpu_percent", "system/memory_gib"}
    assert all(isinstance(value, float) for value in busy.values())
    assert busy["system/cpu_percent"] > 0.5 * 100 * share
    assert idle["system/cpu_percent"] < 20
    assert 0 < busy["system/host_cpu_percent"] <= 100
    assert busy["system/memory_gib"] > idle["system/memory_gib"] + 0.2
    assert host.take()["system/memory_gib"] < busy["system/memory_gib"] - 0.2, "the peak is of its epoch"


def test_a_gpu_is_measured_where_there_is_one(monkeypatch):
    """A fake one: where the figures come from, that load is a mean, and that the peak begins anew with each epoch."""
    resets, loads = [], iter((0, 10, 50, 90, 30))  # the first to see whether there are any
    monkeypatch.setattr(module, "_SAMPLE_EVERY_S", 0.0)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: object() if name == "pynvml" else None)
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: next(loads))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * GIB)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: resets.append(device))
    host = HostFigures(torch.device("cuda", 0))
    host.sample()
    host.sample()
    figures = host.take()
    assert (figures["system/gpu_memory_gib"], figures["system/gpu_percent"]) == (3.0, 50.0)
    assert len(resets) == 2
    assert host.take()["system/gpu_percent"] == 30.0


def test_a_gpu_that_does_not_tell_its_load_stops_nothing(monkeypatch):
    def not_supported(device):
        raise Exception("Not Supported")

    monkeypatch.setattr(module, "_SAMPLE_EVERY_S", 0.0)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: object() if name == "pynvml" else None)
    monkeypatch.setattr(torch.cuda, "utilization", not_supported)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * GIB)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    host = HostFigures(torch.device("cuda", 0))
    host.sample()
    figures = host.take()
    assert figures["system/gpu_memory_gib"] == 3.0
    assert "system/gpu_percent" not in figures


def test_samples_within_a_second_cost_nothing(monkeypatch):
    host = HostFigures(torch.device("cpu"))
    monkeypatch.setattr(host._process, "memory_info", lambda: pytest.fail("looked"))
    host.sample()
