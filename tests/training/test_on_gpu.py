"""What a CPU computes, computed on CUDA: `pytest -m gpu`."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from mas_ray.batch import Batch
from mas_ray.checkpoint import checkpoint_folder, load_checkpoint
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.jobs import Precision
from mas_ray.geometry.camera import Camera
from mas_ray.geometry.integral import soft_argmax
from mas_ray.geometry.triangulation import triangulate
from mas_ray.models.detector import create_detector
from mas_ray.models.shape_prior import create_shape_prior
from mas_ray.rendering.skeleton_mask import skeleton_mask, stage_bones
from mas_ray.shards.manifest import read_manifest
from mas_ray.skeleton import H36M_18
from mas_ray.training.data import FrameSets, open_split
from mas_ray.training.loop import run_stage
from mas_ray.training.objective import LossBreakdown, StageObjective
from mas_ray.training.order import draw_warps
from mas_ray.training.placement import image_format
from mas_ray.training.state import create_state

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here"),
]
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LATE = 10**6
"""A step behind all windows: every term acts."""


@pytest.fixture(scope="module", autouse=True)
def _full_precision():
    """Convolutions of cuDNN take TF32 unless told otherwise, which would hide what is compared here."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture(scope="module")
def data(tiny_dataset) -> FrameSets:
    return open_split(tiny_dataset.manifest.parent, read_manifest(tiny_dataset.manifest), "train", cpu_cascade())


def _objective(stage: int, device: torch.device, precision: Precision = "float32") -> StageObjective:
    """With trained networks, whose losses are not at the mercy of rounding."""
    cascade, trained = cpu_cascade(), load_checkpoint(checkpoint_folder("packaged"))
    detector, shape_prior = create_detector(cascade.detector, H36M_18), create_shape_prior(cascade.shape_prior)
    detector.load_state_dict(trained.detector)
    shape_prior.load_state_dict(trained.shape_prior)
    objective = StageObjective(
        detector,
        shape_prior,
        stage=cascade.stages[stage],
        cascade=cascade,
        skeleton=H36M_18,
        precision=precision,
    )
    return objective.to(device).to(memory_format=image_format(device))


def _step(objective: StageObjective, batch: Batch) -> tuple[LossBreakdown, torch.Tensor]:
    """Losses and gradient, the gradient on the CPU."""
    device = next(objective.parameters()).device
    warps = draw_warps(np.arange(4), batch.valid, num_warped=1, scale=0.05, seed=0, step=0)
    losses = objective(batch.to(device), warps.to(device), LATE)
    losses.total.backward()
    return losses, torch.cat([p.grad.flatten().cpu() for p in objective.parameters() if p.grad is not None])


@pytest.mark.parametrize("stage", range(3))
@pytest.mark.parametrize(
    ("precision", "of_total", "of_terms", "direction"),
    [("float32", 1e-4, 1e-3, 0.9999), ("bfloat16", 5e-3, 5e-2, 0.995)],
)
def test_a_step_is_that_of_the_cpu(data, stage, precision, of_total, of_terms, direction):
    batch = data.batch(np.arange(4))
    expected, expected_gradient = _step(_objective(stage, CPU), batch)
    found, gradient = _step(_objective(stage, CUDA, precision), batch)
    assert found.total.device.type == "cuda"
    expected, found = expected.as_floats(), found.as_floats()
    assert found["total"] == pytest.approx(expected["total"], rel=of_total)
    assert found == pytest.approx(expected, rel=of_terms, abs=1e-6)
    assert torch.cosine_similarity(gradient, expected_gradient, dim=0) > direction


@pytest.mark.parametrize("merge", ["max", "clamped_sum", "noisy_or"])
def test_drawing_is_that_of_the_cpu(merge):
    stage = cpu_cascade().stages[1]
    bones, widths = stage_bones(stage, H36M_18)
    keypoints = torch.rand(8, 18, 2, generator=torch.Generator().manual_seed(0)) * 2.4 - 1.2
    results = []
    for device in (CPU, CUDA):
        points = keypoints.to(device).requires_grad_()
        mask = skeleton_mask(points, bones.to(device), widths.to(device), size=64, merge=merge)
        mask.square().sum().backward()
        assert points.grad is not None
        results.append((mask.detach().cpu(), points.grad.cpu()))
    (expected, expected_gradient), (found, gradient) = results
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-3)


def test_triangulation_is_that_of_the_cpu(data):
    batch = data.batch(np.arange(4))
    noise = torch.randn(4, 4, 18, 2, generator=torch.Generator().manual_seed(0))
    world_mm = 300.0 * torch.randn(4, 1, 18, 3, generator=torch.Generator().manual_seed(1))
    seen = batch.camera.project(world_mm.expand(4, 4, 18, 3)) + 0.01 * noise
    results = []
    for device in (CPU, CUDA):
        there = batch.to(device)
        camera = Camera(K=there.K, R=there.R, t_mm=there.t_mm)
        points = seen.to(device).requires_grad_()
        joints_mm = triangulate(points, camera, torch.ones(4, 4, 18, device=device))
        (joints_mm / 1000.0).square().sum().backward()
        assert points.grad is not None
        results.append((joints_mm.detach().cpu(), points.grad.cpu()))
    (expected, expected_gradient), (found, gradient) = results
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0.1)  # a tenth of a millimetre
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_soft_argmax_is_that_of_the_cpu(dtype):
    logits = (8.0 * torch.randn(4, 18, 16, 32, 32, generator=torch.Generator().manual_seed(0))).to(dtype)
    expected, found = (soft_argmax(logits.to(device))[0].cpu() for device in (CPU, CUDA))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_steps_repeat_exactly_if_asked_to(data, precision, monkeypatch):
    """And no operation of them lacks a deterministic algorithm on CUDA."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    stage = replace(cpu_cascade().stages[1], learning_rates=((1, 2e-3),), num_anchor_only_steps=0, mask_ramp_steps=0)
    cascade = replace(cpu_cascade(), stages=(replace(stage, num_direct_only_steps=1),), steps_per_epoch=4)
    torch.use_deterministic_algorithms(True)
    try:
        traces = []
        for _ in range(2):
            state = create_state(cascade, H36M_18, CUDA)
            objective = StageObjective(
                state.detector,
                state.shape_prior,
                stage=cascade.stages[0],
                cascade=cascade,
                skeleton=H36M_18,
                precision=precision,
            )
            objective.to(CUDA).to(memory_format=image_format(CUDA))
            steps = run_stage(state, objective, copy.copy(data), cascade=cascade, stage=0)
            traces.append([(step.losses, step.gradient_norm) for step in steps])
    finally:
        torch.use_deterministic_algorithms(False)
    assert len(traces[0]) == 4
    assert traces[0] == traces[1]
