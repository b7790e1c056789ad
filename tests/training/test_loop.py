from dataclasses import replace

import numpy as np
import pytest
import torch

from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.shards.manifest import read_manifest
from mas_ray.skeleton import H36M_18
from mas_ray.training.data import open_split
from mas_ray.training.loop import run_stage, validation_reconstruction
from mas_ray.training.objective import StageObjective
from mas_ray.training.state import create_state


def _cascade(epochs: int, steps: int) -> CascadeConfig:
    cascade = cpu_cascade()
    stages = tuple(replace(stage, learning_rates=((epochs, 2e-3),)) for stage in cascade.stages)
    return replace(cascade, stages=stages, steps_per_epoch=steps)


class _Training:
    def __init__(self, dataset, cascade, stage=0, state=None):
        self.cascade, self.stage = cascade, cascade.stages[stage]
        self.data = open_split(dataset.manifest.parent, read_manifest(dataset.manifest), "train", cascade)
        self.state = state or create_state(cascade, H36M_18, torch.device("cpu"))
        self.objective = StageObjective(
            self.state.detector, self.state.shape_prior, stage=self.stage, cascade=cascade, skeleton=H36M_18
        )

    def steps(self, **workers):
        return run_stage(
            self.state,
            self.objective,
            self.data.batch,
            stage=self.stage,
            cascade=self.cascade,
            num_rows=len(self.data),
            steps_per_epoch=self.cascade.steps_per_epoch,
            **workers,
        )


def test_same_seed_same_trace_and_epochs_are_counted(tiny_dataset):
    traces = []
    for _ in range(2):
        training = _Training(tiny_dataset, _cascade(epochs=2, steps=2))
        metrics = list(training.steps())
        traces.append([step.losses["total"] for step in metrics])
        assert [(m.epoch, m.step, m.ends_epoch) for m in metrics] == [
            (0, 0, False),
            (0, 1, True),
            (1, 2, False),
            (1, 3, True),
        ]
        assert training.state.epoch == 2
    assert traces[0] == traces[1]


def test_resumed_at_an_epoch_gives_the_undisturbed_trace(tiny_dataset):
    undisturbed = [m.losses["total"] for m in _Training(tiny_dataset, _cascade(epochs=3, steps=2)).steps()]
    first = _Training(tiny_dataset, _cascade(epochs=3, steps=2))
    trace = []
    for metrics in first.steps():
        trace.append(metrics.losses["total"])
        if metrics.ends_epoch:
            break
    saved = {
        "detector": {k: v.clone() for k, v in first.state.detector.state_dict().items()},
        "optimizer": first.state.optimizer.state_dict(),
    }
    second = _Training(tiny_dataset, _cascade(epochs=3, steps=2))
    second.state.detector.load_state_dict(saved["detector"])
    second.state.optimizer.load_state_dict(saved["optimizer"])
    second.state.epoch = first.state.epoch
    trace += [m.losses["total"] for m in second.steps()]
    assert trace == undisturbed


def test_two_workers_halves_have_the_whole_batchs_loss(tiny_dataset):
    def first_losses(**workers):
        return next(iter(_Training(tiny_dataset, _cascade(epochs=1, steps=1)).steps(**workers))).losses["total"]

    halves = [first_losses(rank=rank, world_size=2) for rank in range(2)]
    assert np.mean(halves) == pytest.approx(first_losses(), rel=1e-5)


def test_a_batch_must_divide_among_workers(tiny_dataset):
    training = _Training(tiny_dataset, _cascade(epochs=1, steps=1))
    with pytest.raises(ValueError, match="batch_size: 4 frame sets do not divide among 3 workers"):
        next(training.steps(rank=0, world_size=3))


def test_a_loss_that_is_not_finite_stops_and_names_the_rows(tiny_dataset):
    training = _Training(tiny_dataset, _cascade(epochs=1, steps=1))
    with torch.no_grad():
        next(training.state.detector.parameters()).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match=r"stage 'torso', step 0, rows \["):
        next(training.steps())


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(tiny_dataset, monkeypatch):
    training = _Training(tiny_dataset, _cascade(epochs=1, steps=1))
    before = [p.clone() for p in training.state.detector.parameters()]
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(torch.nan))
    with pytest.raises(FloatingPointError, match="gradient is not finite in stage 'torso', step 0"):
        next(training.steps())
    assert all(torch.equal(a, b) for a, b in zip(before, training.state.detector.parameters(), strict=True))


def test_each_stage_lowers_its_mask_loss_on_eight_frame_sets(tiny_dataset):
    cascade = cpu_cascade()
    quick = tuple(
        replace(
            stage,
            learning_rates=((1, 2e-3),),
            num_anchor_only_steps=min(stage.num_anchor_only_steps, 25),
            num_anchor_steps=min(stage.num_anchor_steps, 35),
            mask_ramp_steps=0,
            num_direct_only_steps=0,
        )
        for stage in cascade.stages
    )
    cascade = replace(cascade, stages=quick, steps_per_epoch=60)
    state = None
    for index, bound in enumerate((1.0, 0.9, 0.9)):
        training = _Training(tiny_dataset, cascade, index, state)
        state = training.state
        state.epoch = 0
        rows = {"num_rows": len(training.data), "batch_size": 8}
        before = validation_reconstruction(training.objective, training.data.batch, **rows)
        list(training.steps())
        after = validation_reconstruction(training.objective, training.data.batch, **rows)
        assert after < min(before, bound), f"stage {index}: {before:.3f} -> {after:.3f}"
