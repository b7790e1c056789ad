from __future__ import annotations

import typing
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from mas_ray.config import codec
from mas_ray.config.ablations import (
    Ablation,
    ablated,
    with_background,
    with_batch_norm,
    with_clamped_sum,
    with_noisy_or,
    with_paper_symmetry,
    with_points,
    without_arm_search,
    without_cascade,
    without_consistency,
    without_depth,
    without_fresh_detector,
    without_geodesic,
    without_limb_terms,
    without_linked_names,
    without_mask_ramp,
    without_name_search,
    without_shape_prior,
    without_stick,
    without_teacher,
    without_triangulation,
)
from mas_ray.config.cascade import CascadeConfig, cpu_cascade, paper_cascade
from mas_ray.config.jobs import TrainJob
from mas_ray.config.stage import LossWeights, StageConfig

TRIANGULATED = ("reprojection", "consistency", "depth", "limb_equality", "leg_proportions")
BEYOND_THE_PAPER = [
    with_paper_symmetry,
    without_arm_search,
    without_consistency,
    without_depth,
    without_fresh_detector,
    without_limb_terms,
    without_linked_names,
    without_mask_ramp,
    without_name_search,
    without_stick,
    without_teacher,
]
OF_ALL_STAGES = [
    *BEYOND_THE_PAPER,
    with_background,
    with_batch_norm,
    with_points,
    without_geodesic,
    without_shape_prior,
    without_triangulation,
]
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
    return {path: value for path, value in new.items() if path not in old or value != old[path]}


def _of_stages(cascade: CascadeConfig, field: str, value: Any) -> dict[str, Any]:
    return {f".stages.{n}.{field}": value for n in range(len(cascade.stages))}


def _last_fields(changes: dict[str, Any]) -> set[str]:
    return {path.rpartition(".")[2] for path in changes}


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_changes_its_fields_in_every_stage_and_no_other(recipe):
    cascade = recipe()
    assert _changes(cascade, with_points(cascade)) == _of_stages(cascade, "bone_set", "points")
    physique = _changes(cascade, without_shape_prior(cascade))
    assert _last_fields(physique) == {"physique_mask"}
    assert all(stage.loss_weights.physique_mask == 0 for stage in without_shape_prior(cascade).stages)
    geodesic = _changes(cascade, without_geodesic(cascade))
    assert _last_fields(geodesic) == {"geodesic_weighting"}
    assert not any(stage.geodesic_weighting for stage in without_geodesic(cascade).stages)
    depth = _changes(cascade, without_depth(cascade))
    assert _last_fields(depth) <= {"depth"}
    assert all(stage.loss_weights.depth == 0 for stage in without_depth(cascade).stages)
    assert _changes(cascade, with_background(cascade)) == {".detector.background": "kept"}
    assert _changes(cascade, with_batch_norm(cascade)) == {".detector.norm": "batch"}
    assert _changes(cascade, with_clamped_sum(cascade)) == {".bone_merge": "clamped_sum"}
    assert _changes(cascade, with_noisy_or(cascade)) == {".bone_merge": "noisy_or"}


@pytest.mark.parametrize("recipe", RECIPES)
def test_without_triangulation_no_loss_nor_teacher_sees_world_joints(recipe):
    cascade = without_teacher(recipe())
    off = _of_stages(cascade, "resolve_names", False)
    for name in TRIANGULATED:
        off |= _of_stages(cascade, f"loss_weights.{name}", 0.0)
    changes = _changes(cascade, without_triangulation(recipe()))
    assert changes == {path: value for path, value in off.items() if _flat(cascade)[path] != value}
    assert "reprojection" in _last_fields(changes)


def test_the_papers_recipe_has_nothing_that_the_paper_has_not():
    cascade = paper_cascade()
    for ablation in BEYOND_THE_PAPER:
        assert ablation(cascade) == cascade
        assert ablation(cpu_cascade()) != cpu_cascade()
    for stage in cascade.stages:
        beyond = ("consistency", "depth", "spine_midpoint", "limb_equality", "leg_proportions")
        assert [getattr(stage.loss_weights, name) for name in beyond] == [0.0] * len(beyond)
        assert not stage.resolve_names
        assert not stage.fresh_detector


def test_the_teachers_parts_are_switched_one_by_one():
    cascade = cpu_cascade()
    (taught,) = [n for n, stage in enumerate(cascade.stages) if stage.teacher is not None]
    assert _changes(cascade, without_linked_names(cascade)) == {f".stages.{taught}.teacher.link_names": False}
    assert _changes(cascade, without_arm_search(cascade)) == {f".stages.{taught}.teacher.search_arms": False}


def test_each_loss_beyond_the_paper_is_taken_away_with_its_kind():
    cascade = cpu_cascade()
    kinds = {
        without_consistency: {"consistency"},
        without_limb_terms: {"spine_midpoint", "limb_equality", "leg_proportions"},
    }
    for ablation, weights in kinds.items():
        changes = _changes(cascade, ablation(cascade))
        assert changes == {path: 0.0 for path in _flat(cascade) if path.rpartition(".")[2] in weights}


def test_the_names_and_the_fresh_detector_are_switched_alone():
    cascade = cpu_cascade()
    assert set(_changes(cascade, without_name_search(cascade)).values()) == {False}
    assert not any(stage.resolve_names for stage in without_name_search(cascade).stages)
    assert _changes(cascade, without_fresh_detector(cascade)) == {".stages.2.fresh_detector": False}


def test_the_trunk_as_in_the_paper():
    cascade = with_paper_symmetry(cpu_cascade())
    assert _last_fields(_changes(cpu_cascade(), cascade)) == {"symmetry", "bone_length"}
    weights = [(stage.loss_weights.symmetry, stage.loss_weights.bone_length) for stage in cascade.stages]
    assert weights == [(s.loss_weights.symmetry, s.loss_weights.bone_length) for s in paper_cascade().stages]


def test_without_stick_the_first_stage_is_warmed_up_as_in_the_paper():
    cascade = cpu_cascade()
    after = without_stick(cascade)
    assert after.stages[1:] == cascade.stages[1:]
    first, papers = after.stages[0], paper_cascade().stages[0]

    def warm_up(stage: StageConfig) -> list[Any]:
        names = ("anchor", "num_anchor_only_steps", "anchor_fades", "mask_ramp_steps")
        return [stage.loss_weights.anchor, *(getattr(stage, name) for name in names)]

    assert warm_up(first) == warm_up(papers)
    for name in ("num_anchor_steps", "num_direct_only_steps", "learning_rates"):
        assert getattr(first, name) == getattr(cascade.stages[0], name)


def test_without_mask_ramp_masks_act_from_the_first_step_of_every_stage():
    cascade = without_mask_ramp(cpu_cascade())
    assert {(stage.num_anchor_only_steps, stage.mask_ramp_steps) for stage in cascade.stages} == {(0, 0)}
    assert _last_fields(_changes(cpu_cascade(), cascade)) == {"num_anchor_only_steps", "mask_ramp_steps"}


def test_without_teacher_stages_go_on_from_each_other_and_search_for_names():
    cascade = cpu_cascade()
    taught, alone = cascade.stages[-1], without_teacher(cascade).stages[-1]
    assert without_teacher(cascade).stages[:-1] == cascade.stages[:-1]
    assert alone.teacher is None
    assert not alone.fresh_detector
    assert alone.resolve_names
    # Warmed up by the stages before: masks and triangulation lead from the first step, at the same weights and rates.
    warm_up = ("num_anchor_only_steps", "num_anchor_steps", "mask_ramp_steps", "num_direct_only_steps")
    assert [getattr(alone, name) for name in warm_up] == [0] * len(warm_up)
    for name in ("bone_set", "learning_rates", "loss_weights", "geodesic_weighting"):
        assert getattr(alone, name) == getattr(taught, name)


def test_every_loss_that_triangulates_is_known_here():
    """A new weight belongs to what is seen in the image or to what ``without_triangulation`` takes away."""
    seen = {"skeleton_mask", "physique_mask", "bone_length", "equivariance", "symmetry", "spine_midpoint"}
    of_warm_up = {"anchor", "tied_limbs"}
    assert {f.name for f in fields(LossWeights)} == seen | of_warm_up | set(TRIANGULATED)


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
    assert (stage.teacher, stage.fresh_detector, stage.resolve_names) == (None, False, first.resolve_names)
    assert (stage.bone_set, stage.geodesic_weighting) == (last.bone_set, last.geodesic_weighting)
    assert replace(stage.loss_weights, anchor=last.loss_weights.anchor) == last.loss_weights
    assert stage.loss_weights.anchor == first.loss_weights.anchor
    warm_up = [f.name for f in fields(stage) if "anchor" in f.name] + ["mask_ramp_steps", "num_direct_only_steps"]
    assert [getattr(stage, name) for name in warm_up] == [getattr(first, name) for name in warm_up]
    assert stage.num_anchor_steps > 0


def test_a_job_names_its_ablations_in_one_field():
    job = TrainJob(manifest="m", storage="s", cascade=cpu_cascade(), without=("geodesic", "shape_prior"))
    assert codec.loads(TrainJob, codec.dumps(job)) == job
    assert ablated(job.cascade, job.without) == without_shape_prior(without_geodesic(cpu_cascade()))
    assert ablated(job.cascade, ()) == job.cascade
    for name in typing.get_args(Ablation):
        assert ablated(job.cascade, (name,)) != job.cascade


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
