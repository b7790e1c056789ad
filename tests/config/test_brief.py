from __future__ import annotations

from dataclasses import fields, replace

import pytest

from mas_ray.config.ablations import brief
from mas_ray.config.cascade import cpu_cascade, paper_cascade


def test_every_count_of_steps_shrinks_alike():
    before, after = cpu_cascade(), brief(cpu_cascade(), 0.1)
    assert replace(after, stages=before.stages) == before
    for long, short in zip(before.stages, after.stages, strict=True):
        steps = [f.name for f in fields(long) if f.name.endswith("_steps")]
        assert len(steps) >= 6
        assert [getattr(short, name) for name in steps] == [round(0.1 * getattr(long, name)) for name in steps]
        rest = {name: getattr(long, name) for name in [*steps, "learning_rates"]}
        assert replace(short, **rest) == long
    last = before.stages[-1].learning_rates
    assert after.stages[-1].learning_rates == tuple((round(0.1 * num), rate) for num, rate in last)


@pytest.mark.parametrize("recipe", [cpu_cascade, paper_cascade])
def test_no_phase_is_lost_and_the_whole_is_itself(recipe):
    assert brief(recipe(), 1.0) == recipe()
    for stage in brief(recipe(), 1e-6).stages:
        assert all(num == 1 for num, _ in stage.learning_rates)
