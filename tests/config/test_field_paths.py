import re
from dataclasses import replace

import pytest

from mas_ray.config.cascade import cpu_cascade, paper_cascade
from mas_ray.config.field_paths import matching, values_at, with_values
from mas_ray.config.jobs import TrainJob

JOB = TrainJob(manifest="m.json", storage="runs", cascade=paper_cascade(), without=("bones", "depth"))
LIMBS = "cascade.stages.2"


@pytest.mark.parametrize(
    ("path", "concrete"),
    [
        ("name", ("name",)),
        ("without", ("without",)),
        ("without.1", ("without.1",)),
        ("cascade.geodesic.foreground_rate", ("cascade.geodesic.foreground_rate",)),
        ("cascade.stages.limbs.loss_weights.skeleton_mask", (f"{LIMBS}.loss_weights.skeleton_mask",)),
        ("cascade.stages.*.bone_width", tuple(f"cascade.stages.{i}.bone_width" for i in range(3))),
        ("cascade.stages.limbs.learning_rates.*.1", (f"{LIMBS}.learning_rates.0.1", f"{LIMBS}.learning_rates.1.1")),
    ],
)
def test_paths_stand_for_fields_and_concrete_paths_for_themselves(path, concrete):
    assert matching(JOB, path) == concrete
    assert [matching(JOB, one) for one in concrete] == [(one,) for one in concrete]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("cascad.seed", "cascad.seed: TrainJob has no 'cascad'; did you mean 'cascade'?"),
        ("cascade.stages.lims.bone_width", "cascade.stages has no 'lims'; did you mean 'limbs'?"),
        ("cascade.stages.*.bone_witdh", "cascade.stages.0 has no 'bone_witdh'; did you mean 'bone_width'?"),
        ("cascade.stages.3.bone_width", "cascade.stages has no '3'; did you mean"),
        ("cascade.stages.-1.bone_width", "cascade.stages has no '-1'; did you mean"),
        ("cascade.seed.low", "cascade.seed has no fields below it"),
        ("cascade.stages.limbs.teacher.link_names", "cascade.stages.2.teacher has no fields below it"),
        ("", "TrainJob has no ''"),
    ],
)
def test_what_is_not_there_is_named_where_it_fails(path, message):
    with pytest.raises(ValueError, match=f"^{re.escape(path)}: .*{re.escape(message.removeprefix(f'{path}: '))}"):
        matching(JOB, path)


def test_an_empty_tuple_has_no_items_to_stand_for():
    with pytest.raises(ValueError, match=r"^without\.\*: without has no fields below it$"):
        matching(replace(JOB, without=()), "without.*")


def test_an_index_stays_an_index_whatever_the_names_are():
    stages = JOB.cascade.stages
    renamed = replace(JOB.cascade, stages=(replace(stages[0], name="1"), *stages[1:]))
    assert matching(renamed, "stages.1.name") == ("stages.1.name",)
    assert with_values(renamed, {"stages.1.name": "psi"}).stages[1].name == "psi"


def test_values_are_those_of_the_job():
    assert values_at(JOB, "cascade.stages.*.loss_weights.skeleton_mask") == {
        f"cascade.stages.{index}.loss_weights.skeleton_mask": value for index, value in enumerate((10.0, 1.0, 2.0))
    }
    assert values_at(JOB, f"{LIMBS}.learning_rates.1.1") == {f"{LIMBS}.learning_rates.1.1": 1e-4}
    assert values_at(JOB, "without") == {"without": ["bones", "depth"]}


def test_other_values_change_nothing_else():
    changed = with_values(
        JOB,
        {"cascade.stages.limbs.learning_rates.*.1": 3e-4, "cascade.seed": 7, "without": ("teacher",), "initial": "a"},
    )
    limbs = replace(JOB.cascade.stages[2], learning_rates=((14, 3e-4), (11, 3e-4)))
    cascade = replace(JOB.cascade, seed=7, stages=(*JOB.cascade.stages[:2], limbs))
    assert changed == replace(JOB, cascade=cascade, without=("teacher",), initial="a")


def test_a_whole_number_becomes_a_fraction_where_the_field_is_one():
    weight = with_values(JOB, {"cascade.stages.0.loss_weights.skeleton_mask": 3}).cascade.stages[0].loss_weights
    assert type(weight.skeleton_mask) is float


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cascade.seed": 1.5}, r"cascade\.seed: expected int, got 1\.5"),
        ({"cascade.stages.limbs.bone_set": "lose"}, r"cascade\.stages\[2\]\.bone_set: expected one of 'tight'"),
        ({"cascade.geodesic": 1.0}, r"cascade\.geodesic: expected an object"),
        ({"without": ("bone",)}, r"without\[0\]: expected one of 'shape_prior'"),
        ({"cascade.stages.limbs.bone_width": 0.01}, r"cascade\.mask_size: a bone width of 0\.01"),
        ({"cascade.sed": 1}, r"cascade\.sed: cascade has no 'sed'; did you mean 'seed'"),
    ],
)
def test_values_are_checked_like_those_of_a_record(values, message):
    with pytest.raises(ValueError, match=message):
        with_values(JOB, values)


def test_a_teacher_can_be_reached_where_there_is_one():
    job = replace(JOB, cascade=cpu_cascade())
    changed = with_values(job, {"cascade.stages.limbs.teacher.link_names": False})
    teacher = changed.cascade.stages[2].teacher
    assert teacher is not None
    assert not teacher.link_names
    assert teacher.search_arms
