from __future__ import annotations

import math
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.config.jobs import BadSteps
from mas_ray.shards.manifest import read_manifest
from mas_ray.skeleton import H36M_18
from mas_ray.training.bad_steps import BadStep, BadStepError, backward, fault
from mas_ray.training.data import FrameSets, open_split
from mas_ray.training.loop import StepMetrics, Worker, run_stage
from mas_ray.training.objective import StageObjective
from mas_ray.training.state import create_state


class _Poisoned(FrameSets):
    """Frame sets of which some decode to images that are no numbers, as a broken GPU or decoder would give."""

    def __init__(self, frame_sets: FrameSets, rows: set[int]) -> None:
        self.__dict__ |= frame_sets.__dict__
        self._poisoned = rows

    def batch(self, rows):
        batch = super().batch(rows)
        batch.image[torch.tensor([row in self._poisoned for row in rows.tolist()])] = torch.nan
        return batch


def _cascade(epochs=1, steps=4) -> CascadeConfig:
    """Two frame sets of eight per step: four steps see each of them once."""
    stage = replace(cpu_cascade().stages[1], learning_rates=((epochs, 2e-3),))
    return replace(cpu_cascade(), stages=(stage,), steps_per_epoch=steps, batch_size=2)


class _Training:
    def __init__(self, manifest, poisoned: set[int], cascade: CascadeConfig | None = None):
        self.cascade = cascade or _cascade()
        data = open_split(manifest.parent, read_manifest(manifest), "train", self.cascade)
        self.data = _Poisoned(data, poisoned)
        self.state = create_state(self.cascade, H36M_18, torch.device("cpu"))
        self.objective = StageObjective(
            self.state.detector,
            self.state.shape_prior,
            stage=self.cascade.stages[0],
            cascade=self.cascade,
            skeleton=H36M_18,
        )

    def run(self, **policy):
        return run_stage(
            self.state, self.objective, self.data, cascade=self.cascade, stage=0, bad_steps=BadSteps(**policy)
        )

    def weights(self) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in self.objective.parameters()])

    def average(self) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in self.state.kept.detector.parameters()])


def _bad(metrics: list[StepMetrics]) -> list[int]:
    return [step.step for step in metrics if step.bad_step is not None]


def test_a_loss_that_is_not_finite_has_no_finite_gradient():
    """Even where its derivative would be finite, so that every worker's sum of gradients tells it."""
    for value, expected in ((1.0, 3.0), (math.nan, math.nan), (math.inf, math.nan)):
        weight = torch.tensor(2.0, requires_grad=True)
        backward(3.0 * weight + value)
        assert weight.grad is not None
        assert weight.grad.item() == pytest.approx(expected, nan_ok=True)


def test_what_is_wrong_with_a_gradient():
    stop, explodes = BadSteps(), BadSteps(explodes_above=10.0)
    assert fault(1e30, [1.0] * 20, stop) is None
    assert fault(math.inf, [], stop) == fault(math.nan, [1.0], explodes) == "gradient is not finite"
    assert fault(10.0, [1.0] * 20, explodes) is None
    assert fault(10.1, [1.0] * 9, explodes) is None
    assert fault(10.1, [1.0] * 10, explodes) == "gradient explodes (norm 10.1 after a median of 1)"
    assert fault(10.1, [1.0] * 6 + [2.0] * 7, explodes) is None


@pytest.mark.parametrize("wrong", [{"skipped_per_epoch": -1}, {"explodes_above": 1.0}])
def test_a_policy_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
        BadSteps(**wrong)


def test_the_error_has_stage_step_and_frame_sets(tiny_dataset):
    training = _Training(tiny_dataset.manifest, {3})
    metrics = []
    with pytest.raises(BadStepError, match=r"loss is not finite in stage 'shape_prior', step \d, rows \[") as caught:
        metrics.extend(training.run())
    found = pickle.loads(pickle.dumps(caught.value)).bad_step
    assert found.to_json() == caught.value.bad_step.to_json()
    assert found.step == len(metrics)
    assert 3 in found.rows
    assert len(found.rows) == 2
    assert found.frame_sets == tuple(("s00", row) for row in found.rows)
    assert math.isnan(found.losses["total"])
    told = found.to_json()
    assert {"row": 3, "take": "s00", "instant": 3} in told["frame_sets"]
    assert told["losses"]["total"] == "nan"
    assert torch.isfinite(training.weights()).all()


def test_a_skipped_step_leaves_the_weights_and_is_counted(tiny_dataset):
    training = _Training(tiny_dataset.manifest, {3}, replace(_cascade(), weight_average=0.5))
    before, average, metrics = training.weights(), training.average(), []
    for step in training.run(skipped_per_epoch=1):
        metrics.append(step)
        assert torch.equal(training.weights(), before) == (step.bad_step is not None)
        assert torch.equal(training.average(), average) == (step.bad_step is not None)
        before, average = training.weights(), training.average()
    assert len(metrics) == 4
    assert len(_bad(metrics)) == 1
    assert metrics[-1].ends_epoch
    assert training.state.epoch == 1
    assert training.state.optimizer.state_dict()["state"][0]["step"] == 3


def test_one_more_than_may_be_skipped_stops(tiny_dataset):
    training, metrics = _Training(tiny_dataset.manifest, set(range(8)), _cascade(steps=8)), []
    with pytest.raises(BadStepError, match="step 2"):
        metrics.extend(training.run(skipped_per_epoch=2))
    assert _bad(metrics) == [0, 1]


def test_an_epoch_of_bad_steps_alone_stops_and_every_epoch_counts_anew(tiny_dataset):
    training = _Training(tiny_dataset.manifest, set(range(8)))
    with pytest.raises(BadStepError, match="step 3"):
        list(training.run(skipped_per_epoch=100))
    training = _Training(tiny_dataset.manifest, {3}, _cascade(epochs=3))
    assert len(_bad(list(training.run(skipped_per_epoch=1)))) == 3


def test_every_stage_survives_what_is_no_number(tiny_dataset):
    """Drawing, naming and triangulating in all terms, and their derivatives, pass it on and raise nothing else."""
    for stage in cpu_cascade().stages:
        stage = replace(stage, num_anchor_only_steps=0, mask_ramp_steps=0, num_direct_only_steps=0)
        stage = replace(stage, anchor="torso", teacher=None, num_anchor_steps=0, learning_rates=((1, 1e-3),))
        training = _Training(tiny_dataset.manifest, {3}, replace(_cascade(), stages=(stage,)))
        assert len(_bad(list(training.run(skipped_per_epoch=1)))) == 1


def test_an_exploding_gradient_is_a_bad_step(tiny_dataset):
    training = _Training(tiny_dataset.manifest, set(), _cascade(steps=20))
    steps = training.run(explodes_above=1e3, skipped_per_epoch=1)
    metrics = [next(steps) for _ in range(11)]
    training.objective.stage = replace(
        training.objective.stage, loss_weights=replace(training.objective.stage.loss_weights, symmetry=1e12)
    )
    metrics.append(next(steps))
    assert _bad(metrics) == [11]
    exploded = metrics[-1].bad_step
    assert exploded is not None
    assert exploded.reason.startswith("gradient explodes (norm ")
    assert len(exploded.rows) == 2
    assert np.isfinite(list(exploded.losses.values())).all()


@pytest.mark.slow
@pytest.mark.parametrize("skipped", [0, 1])
def test_no_number_in_one_workers_part_is_the_same_step_to_both(tiny_dataset, tmp_path, skipped):
    """Two processes under gloo: neither waits for the other for ever, and both tell of the one worker's rows alone."""
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(tmp_path), str(tiny_dataset.manifest), str(skipped)],
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()[-2000:]
    told, weights = zip(*(torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2)), strict=True)
    (bad_step,), (of_the_other,) = told
    assert bad_step.to_json() == of_the_other.to_json()
    assert bad_step.rows == (3,)
    assert bad_step.reason == "loss is not finite"
    assert torch.equal(weights[0], weights[1])
    assert torch.isfinite(weights[0]).all()


def _work(rank: int, folder: str, manifest: str, skipped: int) -> None:
    from pathlib import Path

    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    training = _Training(Path(manifest), {3})
    parallel = torch.nn.parallel.DistributedDataParallel(training.objective)
    told: list[BadStep] = []
    try:
        for step in run_stage(
            training.state,
            parallel,
            training.data,
            cascade=training.cascade,
            stage=0,
            worker=Worker(rank=rank, world_size=2),
            bad_steps=BadSteps(skipped_per_epoch=skipped),
        ):
            if step.bad_step is not None:
                told.append(step.bad_step)
    except BadStepError as error:
        told.append(error.bad_step)
    torch.save((told, training.weights()), Path(folder) / f"{rank}.pt")


if __name__ == "__main__":
    _work(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
