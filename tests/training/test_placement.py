"""Where a step computes what. CUDA's placement is checked on tensors that have a device but no numbers."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import mas_ray.models.detector as detector_module
import mas_ray.training.objective as objective_module
import mas_ray.training.reprojection as reprojection_module
from mas_ray.batch import Batch
from mas_ray.checkpoint import checkpoint_folder, load_checkpoint
from mas_ray.config.cascade import cpu_cascade
from mas_ray.models.detector import create_detector
from mas_ray.models.shape_prior import create_shape_prior
from mas_ray.shards.manifest import read_manifest
from mas_ray.skeleton import H36M_18
from mas_ray.training.data import open_split
from mas_ray.training.objective import StageObjective, Warps
from mas_ray.training.placement import image_format, repeat_exactly

CUDA = torch.device("cuda")
EVERY_TERM = 10**6
"""A step behind all windows."""


@pytest.fixture(scope="module")
def batch(tiny_dataset) -> Batch:
    folder = tiny_dataset.manifest.parent
    return open_split(folder, read_manifest(tiny_dataset.manifest), "train", cpu_cascade()).batch(np.arange(4))


def _objective(stage=2, **options) -> StageObjective:
    """A stage's objective with trained networks, whose losses are not at the mercy of rounding."""
    cascade, trained = cpu_cascade(), load_checkpoint(checkpoint_folder("packaged"))
    detector, shape_prior = create_detector(cascade.detector, H36M_18), create_shape_prior(cascade.shape_prior)
    detector.load_state_dict(trained.detector)
    shape_prior.load_state_dict(trained.shape_prior)
    return StageObjective(
        detector, shape_prior, stage=cascade.stages[stage], cascade=cascade, skeleton=H36M_18, **options
    )


def _gradient(objective: StageObjective) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in objective.parameters() if p.grad is not None])


def test_bfloat16_reaches_the_layers_and_nothing_else(batch, monkeypatch):
    seen: dict[str, set[tuple[torch.dtype, bool]]] = {}

    def watch(module, name):
        function = getattr(module, name)

        def watched(*args, **options):
            tensors = [arg for arg in args if isinstance(arg, torch.Tensor) and arg.is_floating_point()]
            seen.setdefault(name, set()).update((t.dtype, torch.is_autocast_enabled("cpu")) for t in tensors)
            return function(*args, **options)

        monkeypatch.setattr(module, name, watched)

    watch(detector_module, "soft_argmax")
    watch(reprojection_module, "triangulate")
    watch(objective_module, "skeleton_mask")
    for name in ("mask_reconstruction", "agreement", "depth", "symmetry", "leg_proportions"):
        watch(objective_module.losses, name)
    objective = _objective(precision="bfloat16")
    layers: dict[str, set[torch.dtype]] = {"detector": set(), "shape_prior": set()}
    for network, found in layers.items():
        for module in getattr(objective, network).modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(lambda module, inputs, output, found=found: found.add(output.dtype))
    losses = objective(batch, None, EVERY_TERM)
    assert layers == {"detector": {torch.bfloat16}, "shape_prior": {torch.bfloat16}}
    assert seen.pop("soft_argmax") == {(torch.bfloat16, False)}  # it sums in float32: test_integral
    assert len(seen) == 7
    assert all(kinds == {(torch.float32, False)} for kinds in seen.values()), seen
    assert all(getattr(losses, field.name).dtype == torch.float32 for field in fields(losses))
    losses.total.backward()
    assert all(p.grad.dtype == torch.float32 for p in objective.parameters())


@pytest.mark.parametrize("stage", range(3))
def test_bfloat16_is_near_float32(batch, stage):
    """Total within 0.5 %, every term within 5 %, and a gradient of nearly the same direction and length."""
    exact, rounded = _objective(stage), _objective(stage, precision="bfloat16")
    losses = [objective(batch, None, EVERY_TERM) for objective in (exact, rounded)]
    for of_one in losses:
        of_one.total.backward()
    expected, found = (of_one.as_floats() for of_one in losses)
    assert found != expected
    assert found["total"] == pytest.approx(expected["total"], rel=5e-3)
    assert found == pytest.approx(expected, rel=5e-2, abs=1e-6)
    gradients = _gradient(exact), _gradient(rounded)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.995
    assert gradients[1].norm() == pytest.approx(gradients[0].norm().item(), rel=2e-2)


def test_channels_come_last_on_cuda_alone():
    assert image_format(torch.device("cuda", 1)) is torch.channels_last
    assert image_format(torch.device("cpu")) is torch.contiguous_format


@pytest.mark.parametrize("triangulates", [False, True])
def test_a_step_on_cuda_stays_there(monkeypatch, triangulates):
    """Every operation checks that its operands are on one device. The drawing reads numbers back: a stand-in draws."""
    cascade = cpu_cascade()
    windows = {"num_anchor_only_steps": 0, "num_direct_only_steps": 0 if triangulates else 1000}
    stage = replace(cascade.stages[1], **windows)
    size, side = cascade.detector.input_size, cascade.mask_size
    monkeypatch.setattr(
        objective_module,
        "skeleton_mask",
        lambda keypoints, bones, widths, size, merge: (
            (keypoints[..., bones[:, 0], 0] * widths).sum(-1)[..., None, None].expand(*keypoints.shape[:-2], size, size)
        ),
    )
    mode = FakeTensorMode()
    with mode:
        with CUDA:
            detector, shape_prior = create_detector(cascade.detector, H36M_18), create_shape_prior(cascade.shape_prior)
            objective = StageObjective(detector, shape_prior, stage=stage, cascade=cascade, skeleton=H36M_18)
        images: list[torch.Tensor] = []
        detector.features.register_forward_hook(lambda module, inputs, output: images.append(inputs[0]))
        there = torch.ones(2, 3, dtype=torch.bool)
        batch = Batch(
            image=torch.rand(2, 3, 3, size, size),
            mask=torch.rand(2, 3, side, side),
            weight=torch.rand(2, 3, side, side),
            ndc_from_image=torch.rand(2, 3, 2, 3),
            K=torch.rand(2, 3, 3, 3),
            R=torch.rand(2, 3, 3, 3),
            t_mm=torch.rand(2, 3, 3),
            valid=there,
            calibrated=there,
        )
        warps = Warps(view=torch.zeros(2, 1, dtype=torch.int64), input_from_output=torch.rand(2, 1, 2, 3))
        losses = objective(batch.to(CUDA), warps.to(CUDA), 0)
    assert losses.total.device.type == "cuda"
    assert images[0].is_contiguous(memory_format=torch.channels_last)
    with mode, pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        objective(batch, warps, 0)  # the check of the check


@pytest.fixture
def restored_determinism(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    torch.use_deterministic_algorithms(False)


def test_a_step_has_no_operation_without_a_deterministic_algorithm(batch, restored_determinism):
    objective = _objective()
    expected = objective(batch, None, EVERY_TERM).as_floats()
    repeat_exactly()
    assert torch.are_deterministic_algorithms_enabled()
    losses = objective(batch, None, EVERY_TERM)
    losses.total.backward()
    assert losses.as_floats() == expected


def test_compiled_features_are_the_same_network(tmp_path):
    """In a process without the runtime checks of types, which would be compiled as well; what code it makes of the
    layers is torch's affair."""
    script = """
import torch
from mas_ray.config.model import DetectorConfig
from mas_ray.models.detector import create_detector
from mas_ray.skeleton import H36M_18

config = DetectorConfig(backbone="tiny", width=8, head_width=16, input_size=64, heatmap_size=32, heatmap_depth=16)
detector = create_detector(config, H36M_18)
names = list(detector.state_dict())
images = torch.rand(2, 3, 64, 64)
results = []
for compiled in (False, True):
    if compiled:
        detector.features.compile(backend="aot_eager", fullgraph=True)
    detector.zero_grad()
    found = detector(images).keypoints_ndc
    found.square().sum().backward()
    results.append((found.detach(), torch.cat([p.grad.flatten() for p in detector.parameters()])))
assert list(detector.state_dict()) == names
assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
for before, after in zip(*results):
    assert torch.allclose(before, after, rtol=1e-3, atol=1e-5), (before - after).abs().max()
"""
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
