from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from mas_ray.config.ablations import (
    with_points,
    without_cascade,
    without_geodesic,
    without_shape_prior,
    without_triangulation,
)
from mas_ray.config.cascade import CascadeConfig, cpu_cascade, paper_cascade

TRIANGULATED = ("reprojection", "consistency", "depth", "limb_equality")
OF_ALL_STAGES = [with_points, without_geodesic, without_shape_prior, without_triangulation]
RECIPES = [paper_cascade, cpu_cascade]


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Every scalar of a recipe by its path."""
    if is_dataclass(value):
        named = [(f.name, getattr(value, f.name)) for f in fields(value)]
    elif isinstance(value, tuple):
        named = [(str(n), item) for n, item in enumerate(value)]
    else:
        return {path: value}
    return {key: item for name, child in named for key, item in _flat(child, f"{path}.{name}").items()}


def _changes(before: CascadeConfig, after: CascadeConfig) -> dict[str, Any]:
    """What the second recipe says where it says something else."""
    old, new = _flat(before), _flat(after)
    assert old.keys() == new.keys()
    return {path: new[path] for path in old if new[path] != old[path]}


def _of_stages(cascade: CascadeConfig, field: str, value: Any) -> dict[str, Any]:
    return {f".stages.{n}.{field}": value for n in range(len(cascade.stages))}


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_changes_its_fields_in_every_stage_and_no_other(recipe):
    cascade = recipe()
    weights = {
        path: value
        for name in TRIANGULATED
        for path, value in _of_stages(cascade, f"loss_weights.{name}", 0.0).items()
        if _flat(cascade)[path]
    }
    assert any("reprojection" in path for path in weights)
    assert _changes(cascade, without_triangulation(cascade)) == weights
    assert _changes(cascade, with_points(cascade)) == _of_stages(cascade, "bone_set", "points")
    physique = _changes(cascade, without_shape_prior(cascade))
    assert {path.rpartition(".")[2] for path in physique} == {"physique_mask"}
    assert all(stage.loss_weights.physique_mask == 0 for stage in without_shape_prior(cascade).stages)
    geodesic = _changes(cascade, without_geodesic(cascade))
    assert {path.rpartition(".")[2] for path in geodesic} == {"geodesic_weighting"}
    assert not any(stage.geodesic_weighting for stage in without_geodesic(cascade).stages)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("first", OF_ALL_STAGES)
@pytest.mark.parametrize("second", OF_ALL_STAGES)
def test_they_combine_in_any_order_and_twice_is_once(recipe, first, second):
    assert first(second(recipe())) == second(first(recipe()))
    assert first(first(recipe())) == first(recipe())


@pytest.mark.parametrize("recipe", RECIPES)
def test_without_cascade_is_the_last_stage_warmed_up_like_the_first(recipe):
    cascade = recipe()
    (stage,) = without_cascade(cascade).stages
    first, last = cascade.stages[0], cascade.stages[-1]
    assert stage.num_epochs == sum(s.num_epochs for s in cascade.stages)
    rates = [s.learning_rate(epoch) for s in cascade.stages for epoch in range(s.num_epochs)]
    assert [stage.learning_rate(epoch) for epoch in range(stage.num_epochs)] == rates
    assert (stage.bone_set, stage.geodesic_weighting) == (last.bone_set, last.geodesic_weighting)
    assert replace(stage.loss_weights, anchor=last.loss_weights.anchor) == last.loss_weights
    assert stage.loss_weights.anchor == first.loss_weights.anchor
    warm_up = [f.name for f in fields(stage) if "anchor" in f.name] + ["mask_ramp_steps", "num_direct_only_steps"]
    assert [getattr(stage, name) for name in warm_up] == [getattr(first, name) for name in warm_up]
    assert stage.num_anchor_steps > 0


def test_without_cascade_keeps_everything_beside_the_stages():
    cascade = cpu_cascade()
    assert replace(without_cascade(cascade), stages=cascade.stages) == cascade
    once = without_cascade(cascade)
    assert without_cascade(once) == once


def test_any_number_of_stages_will_do():
    cascade = cpu_cascade()
    longer = replace(cascade, stages=(*cascade.stages, replace(cascade.stages[-1], name="polish")))
    for ablation in OF_ALL_STAGES:
        stages = ablation(longer).stages
        assert [stage.name for stage in stages] == [stage.name for stage in longer.stages]
        assert stages[-1] == replace(stages[-2], name="polish")
    assert without_cascade(longer).stages[0].name == "polish"
