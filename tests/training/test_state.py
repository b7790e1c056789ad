from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.skeleton import H36M_18
from mas_ray.training.state import TrainState, create_state, inherit, move_average

CPU = torch.device("cpu")


def _averaging(decay: float = 0.9) -> CascadeConfig:
    return replace(cpu_cascade(), weight_average=decay)


def _fill(state: TrainState, value: float) -> None:
    with torch.no_grad():
        for network in (state.detector, state.shape_prior):
            for parameter in network.parameters():
                parameter.fill_(value)


def _averages(state: TrainState) -> set[float]:
    """The different values in the average."""
    assert state.average is not None
    networks = (state.average.detector, state.average.shape_prior)
    return {value for network in networks for p in network.parameters() for value in p.unique().tolist()}


def test_without_an_average_the_weights_are_kept():
    state = create_state(cpu_cascade(), H36M_18, CPU)
    assert state.kept.detector is state.detector
    move_average(state, 0.9, 0)
    assert state.average is None


def test_the_average_follows_every_weight_and_is_no_part_of_what_is_trained():
    state = create_state(_averaging(), H36M_18, CPU)
    _fill(state, 1.0)
    inherit(
        state,
        cpu_cascade().stages[0],
        detector=state.detector.state_dict(),
        shape_prior=state.shape_prior.state_dict(),
    )
    assert _averages(state) == {1.0}
    _fill(state, 2.0)
    move_average(state, 0.9, step=10**6)
    (value,) = _averages(state)
    assert value == pytest.approx(0.9 * 1.0 + 0.1 * 2.0)
    optimised = {id(p) for group in state.optimizer.param_groups for p in group["params"]}
    assert not optimised & {id(p) for p in state.kept.detector.parameters()}


def test_a_young_average_follows_faster():
    state = create_state(_averaging(0.999), H36M_18, CPU)
    _fill(state, 0.0)
    move_average(state, 0.0, step=0)
    assert _averages(state) == {0.0}
    _fill(state, 1.0)
    move_average(state, 0.999, step=0)
    (value,) = _averages(state)
    assert value == pytest.approx(0.9)


def test_the_average_has_the_statistics_of_the_newest_weights():
    detector = replace(cpu_cascade().detector, norm="batch")
    state = create_state(replace(_averaging(), detector=detector), H36M_18, CPU)
    assert state.average is not None
    for buffer in state.detector.buffers():
        buffer.fill_(7)
    move_average(state, 0.9, step=10**6)
    assert {buffer.unique().item() for buffer in state.average.detector.buffers()} == {7}


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_share_that_makes_no_average_is_refused(decay):
    with pytest.raises(ValueError, match="weight_average: expected at least 0 and less than 1"):
        _averaging(decay)
