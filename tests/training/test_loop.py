import copy
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from mas_ray.annotations import read_reference
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


def _quick(*rates: tuple[int, float]) -> CascadeConfig:
    """Epochs of two steps, an even smaller detector, and windows of steps so short that six of them see it all.

    Masks ramp in at the steps 1 and 2, reprojection, consistency and depth begin at 2, the arms' tie ends at 4 and the
    warm-up target at 5.
    """
    windows = {
        "num_anchor_only_steps": 1,
        "mask_ramp_steps": 1,
        "physique_ramp_steps": 3,
        "num_direct_only_steps": 2,
        "num_tied_limb_steps": 4,
        "num_anchor_steps": 5,
    }
    stages = tuple(replace(stage, learning_rates=rates, **windows) for stage in cpu_cascade().stages)
    detector = replace(cpu_cascade().detector, width=8, head_width=16)
    return replace(cpu_cascade(), stages=stages, detector=detector, steps_per_epoch=2)


THREE_EPOCHS = _quick((1, 2e-3), (1, 1e-3), (1, 3e-4))


class _Training:
    def __init__(self, dataset, cascade, stage=0):
        self.cascade, self.stage = cascade, stage
        self.data = open_split(dataset.manifest.parent, read_manifest(dataset.manifest), "train", cascade)
        if cascade.stages[stage].teacher is not None:
            joints = read_reference(dataset.annotations / "s00.parquet").joints_world_mm
            self.data = self.data.taught(torch.from_numpy(joints).float())
        self.state = create_state(cascade, H36M_18, torch.device("cpu"))
        self.objective = StageObjective(
            self.state.detector, self.state.shape_prior, stage=cascade.stages[stage], cascade=cascade, skeleton=H36M_18
        )

    def steps(self, **worker):
        return run_stage(
            self.state, self.objective, self.data, cascade=self.cascade, stage=self.stage, worker=Worker(**worker)
        )


def _wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _acts(trace, term):
    """The steps at which a term is not 0."""
    return {step for step, terms in enumerate(trace) if terms[term] > 0}


@pytest.fixture(scope="module", params=range(3))
def undisturbed(request, tiny_dataset):
    """A stage and the metrics of its six steps."""
    return request.param, list(_Training(tiny_dataset, THREE_EPOCHS, request.param).steps())


def test_every_term_acts_in_its_steps_counted_through_the_epochs(undisturbed):
    stage, metrics = undisturbed
    weights, trace = cpu_cascade().stages[stage].loss_weights, [step.losses for step in metrics]
    assert len(trace) == 6
    assert _acts(trace, "skeleton_mask") == {1, 2, 3, 4, 5}
    assert _acts(trace, "physique_mask") == ({1, 2, 3, 4, 5} if weights.physique_mask else set())
    assert _acts(trace, "tied_limbs") == {0, 1, 2, 3}
    assert _acts(trace, "anchor") == {0, 1, 2, 3, 4}
    assert _acts(trace, "consistency") == {2, 3, 4, 5}
    # A teacher's depth as long as it pulls, then the triangulated joints'.
    assert _acts(trace, "depth") == (set(range(6)) if weights.depth else set())
    assert _acts(trace, "equivariance") == set(range(6))


def test_same_seed_same_trace_and_epochs_are_counted(tiny_dataset):
    traces = []
    for _ in range(2):
        training = _Training(tiny_dataset, _quick((2, 2e-3)), stage=1)
        metrics = list(training.steps())
        traces.append([step.losses for step in metrics])
        assert [(m.epoch, m.step, m.ends_epoch) for m in metrics] == [
            (0, 0, False),
            (0, 1, True),
            (1, 2, False),
            (1, 3, True),
        ]
        assert training.state.epoch == 2
    assert traces[0] == traces[1]
    assert _acts(traces[0], "physique_mask") == {1, 2, 3}
    assert _acts(traces[0], "consistency") == {2, 3}


def test_resumed_at_an_epoch_gives_the_undisturbed_trace(tiny_dataset, undisturbed):
    stage, expected = undisturbed
    first, second = (_Training(tiny_dataset, THREE_EPOCHS, stage) for _ in range(2))
    trace = []
    for metrics in first.steps():
        trace.append(metrics.losses)
        if metrics.ends_epoch:
            break
    for name in ("detector", "shape_prior", "optimizer"):
        saved = copy.deepcopy(getattr(first.state, name).state_dict())
        getattr(second.state, name).load_state_dict(saved)
    second.state.epoch = first.state.epoch
    trace += [metrics.losses for metrics in second.steps()]
    assert trace == [metrics.losses for metrics in expected]


@pytest.mark.parametrize("stage", range(3))
def test_two_workers_halves_have_the_whole_batchs_losses_and_gradients(tiny_dataset, stage):
    """At a rate of 0 the halves need not wait for each other: all steps of one worker, then all of the other."""
    cascade = replace(_quick((2, 0.0)), gradient_clip=0.0)

    def steps(**worker):
        training = _Training(tiny_dataset, cascade, stage)
        for metrics in training.steps(**worker):
            gradients = [p.grad.flatten() for p in training.objective.parameters() if p.grad is not None]
            yield metrics, torch.cat(gradients)

    whole, *halves = (list(steps(**worker)) for worker in ({}, *({"rank": r, "world_size": 2} for r in range(2))))
    for (metrics, gradient), *parts in zip(whole, *halves, strict=True):
        expected = {name: np.mean([m.losses[name] for m, _ in parts]) for name in metrics.losses}
        assert metrics.losses == pytest.approx(expected, rel=1e-4, abs=1e-7)
        assert metrics.num_images == sum(m.num_images for m, _ in parts)
        mean = torch.stack([g for _, g in parts]).mean(0)
        assert (mean - gradient).norm() < 1e-3 * gradient.norm()
    trace = [metrics.losses for metrics, _ in whole]
    assert _acts(trace, "skeleton_mask") == {1, 2, 3}
    assert _acts(trace, "consistency") == {2, 3}


def test_every_epoch_has_its_rate(undisturbed):
    _, metrics = undisturbed
    assert [(step.epoch, step.learning_rate) for step in metrics] == [
        (0, 2e-3),
        (0, 2e-3),
        (1, 1e-3),
        (1, 1e-3),
        (2, 3e-4),
        (2, 3e-4),
    ]


def test_the_optimiser_goes_at_the_rate_that_is_told(tiny_dataset):
    """Every weight with a gradient moves by Adam's first step, the rate itself."""
    training = _Training(tiny_dataset, _quick((1, 3e-4)), stage=1)
    before = [p.detach().clone() for p in training.objective.parameters()]
    next(training.steps())
    moved = max((p - b).abs().max().item() for p, b in zip(training.objective.parameters(), before, strict=True))
    assert moved == pytest.approx(3e-4, rel=1e-2)


@pytest.mark.parametrize("clip", [1e-3, 1e9, 0.0])
def test_the_optimiser_is_given_the_clipped_gradient(tiny_dataset, clip):
    """Adam's first moment after a step is a tenth of what it was given. The metrics tell the norm before."""
    training = _Training(tiny_dataset, replace(_quick((1, 2e-3)), gradient_clip=clip), stage=1)
    metrics = next(training.steps())
    moments = [moment["exp_avg"].flatten() for moment in training.state.optimizer.state.values()]
    given = 10 * torch.cat(moments).norm().item()
    assert metrics.gradient_norm > 0.1
    assert given == pytest.approx(clip if clip == 1e-3 else metrics.gradient_norm, rel=1e-3)


def test_a_batch_must_divide_among_workers(tiny_dataset):
    training = _Training(tiny_dataset, _cascade(epochs=1, steps=1))
    with pytest.raises(ValueError, match="batch_size: 4 frame sets do not divide among 3 workers"):
        next(training.steps(rank=0, world_size=3))


def test_the_next_batch_is_decoded_while_the_caller_has_the_step(tiny_dataset, monkeypatch):
    """And not the one after it; nothing is decoded any more once the stage is left."""
    training, decoded = _Training(tiny_dataset, _cascade(epochs=1, steps=9)), list[int]()
    of_rows = training.data.batch
    monkeypatch.setattr(training.data, "batch", lambda rows: decoded.append(len(decoded)) or of_rows(rows))
    steps = training.steps()
    for number in range(3):
        next(steps)
        _wait_until(lambda number=number: len(decoded) >= number + 2)
        assert len(decoded) == number + 2
    steps.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]
    assert len(decoded) == 4


def test_an_undecodable_row_stops_the_stage(tiny_dataset, monkeypatch):
    training = _Training(tiny_dataset, _cascade(epochs=1, steps=4))
    of_rows, calls = training.data.batch, iter(range(9))

    def batch(rows):
        if next(calls) == 2:
            raise ValueError("image: not a decodable JPEG")
        return of_rows(rows)

    monkeypatch.setattr(training.data, "batch", batch)
    steps = training.steps()
    assert [next(steps).step, next(steps).step] == [0, 1]
    with pytest.raises(ValueError, match="not a decodable JPEG"):
        next(steps)


def test_the_wait_for_data_is_what_the_step_waits(tiny_dataset, monkeypatch):
    """A slow decoder is waited for unless the caller takes as long."""
    training = _Training(tiny_dataset, _cascade(epochs=1, steps=3))
    of_rows = training.data.batch
    monkeypatch.setattr(training.data, "batch", lambda rows: time.sleep(0.6) or of_rows(rows))
    steps = training.steps()
    first = next(steps)
    assert first.data_wait_s >= 0.6
    time.sleep(1.5)
    second = next(steps)
    assert second.data_wait_s < 0.3
    assert second.seconds > second.data_wait_s


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
