"""The number of workers changes nothing: same global batch, same losses, same gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gloo_workers import Data, open_data, train_in_processes
from single_views import write_single_views

from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.config.model import ShapePriorConfig
from mas_ray.skeleton import H36M_18
from mas_ray.training.objective import StageObjective
from mas_ray.training.order import draw_warps
from mas_ray.training.state import create_state

STEPS = 50
NUM_VIEWS = (4, 1, 3, 2, 4, 2, 1, 3)


def _cascade() -> CascadeConfig:
    """The CPU cascade with the smallest networks, single views in every stage, and windows that end by step 40."""
    windows = {
        "num_anchor_only_steps": 5,
        "mask_ramp_steps": 5,
        "physique_ramp_steps": 10,
        "num_direct_only_steps": 8,
        "num_tied_limb_steps": 20,
        "num_anchor_steps": 40,
        "learning_rates": ((5, 2e-3),),
        "single_view_share": 0.2,
    }
    stages = tuple(replace(stage, **windows) for stage in cpu_cascade().stages)
    networks = {
        "detector": replace(
            cpu_cascade().detector, width=4, head_width=8, input_size=32, heatmap_size=16, heatmap_depth=4
        ),
        "shape_prior": ShapePriorConfig(widths=(2, 4)),
    }
    return replace(cpu_cascade(), stages=stages, steps_per_epoch=10, **networks)


@pytest.fixture(scope="module")
def data(tiny_dataset, tmp_path_factory) -> Data:
    """Frame sets of one to four views, so that parts of a batch have unequal numbers of them; and single views."""
    return Data(
        manifest=tiny_dataset.manifest,
        joints=tiny_dataset.annotations / "s00.parquet",
        single_view=write_single_views(tmp_path_factory.mktemp("single"), tiny_dataset.manifest),
        num_views=NUM_VIEWS,
    )


@pytest.mark.parametrize("single_view", [False, True])
@pytest.mark.parametrize("stage", range(3))
def test_the_mean_over_parts_is_the_whole_batchs(data, stage, single_view):
    """In float64, with every term acting: losses and gradients, though one part has more views than another."""
    cascade, step = _cascade(), 15
    rows = np.arange(4)
    frame_sets = open_data(data, cascade, stage)[single_view]
    state = create_state(cascade, H36M_18, torch.device("cpu"))
    objective = StageObjective(
        state.detector, state.shape_prior, stage=cascade.stages[stage], cascade=cascade, skeleton=H36M_18
    ).double()

    def losses_and_gradient(part):
        batch = frame_sets.batch(rows[part])
        warps = draw_warps(rows[part], batch.valid, num_warped=1, scale=0.05, seed=0, step=step)
        objective.zero_grad()
        losses = objective(_in_double(batch), _in_double(warps), step)
        losses.total.backward()
        gradients = [p.grad.flatten() for p in objective.parameters() if p.grad is not None]
        return losses.as_floats(), torch.cat(gradients)

    expected, gradient = losses_and_gradient(slice(None))
    assert (expected["consistency"] > 0) != single_view
    assert expected["skeleton_mask"] > 0
    for num in (2, 4):
        parts = [losses_and_gradient(slice(rank, None, num)) for rank in range(num)]
        means = {name: np.mean([losses[name] for losses, _ in parts]) for name in expected}
        assert means == pytest.approx(expected, rel=1e-12, abs=1e-15)
        mean = torch.stack([part for _, part in parts]).mean(0)
        assert (mean - gradient).norm() < 1e-10 * gradient.norm()


@pytest.mark.slow
def test_one_two_and_four_workers_train_alike(data, tmp_path, capsys):
    """In float64 they do for 50 steps; in float32 they start alike, as far as one worker's own rounding lets them."""
    traces = {}
    for num in (1, 2, 4):
        (folder := tmp_path / str(num)).mkdir()
        traces[num] = train_in_processes(num, folder, data, _cascade(), num_steps=STEPS)
    for stage in range(3):
        exact, rounded = (traces[1][dtype, stage] for dtype in (torch.float64, torch.float32))
        rounding = _apart(rounded.gradient, exact.gradient)
        for num in (2, 4):
            for dtype, alone, limit in (
                (torch.float64, exact, 1e-12),
                (torch.float32, rounded, max(1e-5, 2 * rounding)),
            ):
                trace = traces[num][dtype, stage]
                apart, drift = _apart(trace.gradient, alone.gradient), _drift(trace.losses, alone.losses)
                with capsys.disabled():
                    print(
                        f"\nstage {stage}, {num} workers, {dtype}: first gradient {apart:.1e} apart"
                        f" (one worker's rounding in float32: {rounding:.1e}),"
                        f" losses {max(drift):.1e} in {STEPS} steps",
                        end="",
                    )
                assert len(drift) == STEPS
                assert apart < limit
                assert max(drift) < 1e-8 or dtype == torch.float32


def _apart(gradient, expected) -> float:
    return float((gradient.double() - expected.double()).norm() / expected.norm())


def _in_double(value):
    floats = {name: tensor.double() for name, tensor in vars(value).items() if _is_float(tensor)}
    return replace(value, **floats)


def _is_float(tensor) -> bool:
    return tensor is not None and tensor.is_floating_point()


def _drift(losses, expected) -> list[float]:
    """For each step the largest difference of a term, relative to the total."""
    return [
        max(abs(step[name] - alone[name]) for name in alone) / alone["total"]
        for step, alone in zip(losses, expected, strict=True)
    ]
