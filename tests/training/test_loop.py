from dataclasses import replace

import numpy as np
import pytest
import torch

from mas_ray.config.ablations import with_batch_norm
from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.shards.manifest import read_manifest
from mas_ray.skeleton import H36M_18
from mas_ray.training.data import open_split
from mas_ray.training.loop import Worker, run_stage, validation_reconstruction
from mas_ray.training.objective import StageObjective
from mas_ray.training.state import create_state


def _cascade(epochs: int, steps: int) -> CascadeConfig:
    cascade = cpu_cascade()
    stages = tuple(replace(stage, learning_rates=((epochs, 2e-3),)) for stage in cascade.stages)
    return replace(cascade, stages=stages, steps_per_epoch=steps)


class _Training:
    def __init__(self, dataset, cascade, stage=0):
        self.cascade, self.stage = cascade, stage
        self.data = open_split(dataset.manifest.parent, read_manifest(dataset.manifest), "train", cascade)
        self.state = create_state(cascade, H36M_18, torch.device("cpu"))
        self.objective = StageObjective(
            self.state.detector, self.state.shape_prior, stage=cascade.stages[stage], cascade=cascade, skeleton=H36M_18
        )

    def steps(self, **worker):
        return run_stage(
            self.state, self.objective, self.data, cascade=self.cascade, stage=self.stage, worker=Worker(**worker)
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
    def first_losses(**worker):
        return next(iter(_Training(tiny_dataset, _cascade(epochs=1, steps=1)).steps(**worker))).losses["total"]

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


def test_validation_is_the_mean_over_rows_however_they_are_dealt(tiny_dataset):
    training = _Training(tiny_dataset, _cascade(epochs=1, steps=1), stage=1)
    whole = validation_reconstruction(training.objective, training.data, batch_size=8)
    assert validation_reconstruction(training.objective, training.data, batch_size=3) == pytest.approx(whole, rel=1e-5)
    of_rows = [training.objective(training.data.batch(np.array([row])), None, 10**9) for row in range(8)]
    assert whole == pytest.approx(np.mean([row.reconstruction.item() for row in of_rows]), rel=1e-5)


def test_validation_leaves_the_networks_as_they_were(tiny_dataset):
    training = _Training(tiny_dataset, with_batch_norm(_cascade(epochs=1, steps=1)))
    before = {name: tensor.clone() for name, tensor in training.objective.state_dict().items()}
    validation_reconstruction(training.objective, training.data, batch_size=8)
    assert all(torch.equal(tensor, before[name]) for name, tensor in training.objective.state_dict().items())
    assert training.objective.training
