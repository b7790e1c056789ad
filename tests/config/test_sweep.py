import math
import subprocess
import sys
from dataclasses import replace

import pytest

from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.jobs import TrainJob, Workers
from mas_ray.config.search_space import Choice, Dependent, LogUniform, Uniform, ends, grid_values, is_whole
from mas_ray.config.sweep import Asha, GridSearch, RandomSearch, TpeSearch, TuneJob, grid, trial_job

BASE = TrainJob(manifest="m.json", storage="runs", name="sweep", initial="packaged", cascade=cpu_cascade())
MASK = "cascade.stages.*.loss_weights.skeleton_mask"
WIDTH = "cascade.stages.*.bone_width"
ARM = "cascade.stages.*.arm_bone_width"
RATES = "cascade.stages.limbs.learning_rates.*.1"
STEPS = "cascade.stages.torso.num_anchor_only_steps"


def sweep(*space, search=None, **changes) -> TuneJob:
    return TuneJob(base=BASE, space=space, search=search or RandomSearch(num_trials=3), **changes)


def weights(job: TrainJob) -> list[float]:
    return [stage.loss_weights.skeleton_mask for stage in job.cascade.stages]


@pytest.mark.parametrize(
    "job",
    [
        sweep(
            LogUniform(field=MASK, low=0.3, high=3.0, scales=True),
            Uniform(field=WIDTH, low=0.05, high=0.07),
            Dependent(field=ARM, of=WIDTH, factor=math.sqrt(0.5)),
            search=TpeSearch(num_trials=12),
            early_stopping=Asha(grace_epochs=4),
            seed=3,
            max_concurrent=2,
        ),
        sweep(
            Choice(field="without", values=((), ("depth",), ("bones", "geodesic"))),
            Choice(field="initial", values=("a/checkpoint", "packaged")),
            Choice(field="execution.compile", values=(False, True)),
            Choice(field="cascade.equivariance_views", values=(None, 1)),
            Uniform(field="cascade.seed", low=0.0, high=2.0, step=1.0),
            search=GridSearch(),
            stages=("shape_prior", "limbs"),
        ),
    ],
)
def test_a_sweep_survives_json(job):
    again = codec.loads(TuneJob, codec.dumps(job))
    assert again == job
    assert [list(map(type, d.values)) for d in again.space if isinstance(d, Choice)] == [
        list(map(type, d.values)) for d in job.space if isinstance(d, Choice)
    ]


def test_a_trial_is_the_base_with_what_was_drawn():
    job = sweep(Uniform(field=WIDTH, low=0.05, high=0.07), Choice(field="without", values=((), ("depth",))))
    trial = trial_job(job, {WIDTH: 0.06, "without": ("depth",)})
    stages = tuple(replace(stage, bone_width=0.06) for stage in BASE.cascade.stages)
    assert trial == replace(BASE, without=("depth",), cascade=replace(BASE.cascade, stages=stages))


def test_what_scales_multiplies_what_each_field_has():
    job = sweep(
        LogUniform(field=MASK, low=0.5, high=2.0, scales=True),
        Uniform(field=RATES, low=0.5, high=1.5, scales=True),
    )
    trial = trial_job(job, {MASK: 2.0, RATES: 0.5})
    assert weights(BASE) == [10.0, 1.0, 10.0]
    assert weights(trial) == [20.0, 2.0, 20.0]
    assert trial.cascade.stages[2].learning_rates == ((40, 1e-3), (20, 5e-4), (10, 1.5e-4))


def test_without_scales_all_fields_have_the_number_itself():
    assert weights(trial_job(sweep(LogUniform(field=MASK, low=0.5, high=20.0)), {MASK: 4.0})) == [4.0, 4.0, 4.0]


def test_a_dependent_field_follows_and_scales_where_its_dimension_does():
    drawn = sweep(Uniform(field=WIDTH, low=0.05, high=0.07), Dependent(field=ARM, of=WIDTH, factor=0.75))
    assert {stage.arm_bone_width for stage in trial_job(drawn, {WIDTH: 0.06}).cascade.stages} == {0.06 * 0.75}
    scaled = sweep(Uniform(field=WIDTH, low=1.0, high=2.0, scales=True), Dependent(field=ARM, of=WIDTH, factor=1.0))
    trial = trial_job(scaled, {WIDTH: 1.5}).cascade.stages[0]
    assert trial.bone_width == pytest.approx(1.5 * 0.055)
    assert trial.arm_bone_width == pytest.approx(1.5 * 0.039)


def test_a_dependent_may_come_before_what_it_depends_on():
    job = sweep(Dependent(field=ARM, of=WIDTH, factor=0.75), Uniform(field=WIDTH, low=0.05, high=0.07))
    assert trial_job(job, {WIDTH: 0.06}).cascade.stages[1].arm_bone_width == 0.06 * 0.75


def test_integers_stay_integers():
    job = sweep(
        Uniform(field=STEPS, low=50.0, high=150.0, step=50.0),
        Dependent(field="cascade.stages.torso.num_anchor_steps", of=STEPS, factor=3.333),
        LogUniform(field="cascade.stages.torso.mask_ramp_steps", low=0.5, high=2.0, scales=True),
    )
    assert is_whole(job.space[0])
    drawn = {STEPS: grid_values(job.space[0])[0], "cascade.stages.torso.mask_ramp_steps": 0.777}
    torso = trial_job(job, drawn).cascade.stages[0]
    assert (torso.num_anchor_only_steps, torso.num_anchor_steps, torso.mask_ramp_steps) == (50, 167, 78)


def test_whole_literals_in_fields_of_fractions_are_not_taken_for_integers():
    """As in a file of a user's own; the types that tests check at run time would not let them through."""
    program = """
from dataclasses import replace
from mas_ray.config.cascade import paper_cascade
from mas_ray.config.jobs import TrainJob
from mas_ray.config.search_space import LogUniform, Uniform
from mas_ray.config.sweep import RandomSearch, TuneJob, trial_job

base = TrainJob(manifest="m", storage="s", cascade=replace(paper_cascade(), gradient_clip=10))
scaled = LogUniform(field="cascade.gradient_clip", low=1, high=2, scales=True)
job = TuneJob(base=base, space=(scaled,), search=RandomSearch(num_trials=1))
print(trial_job(job, {"cascade.gradient_clip": 1.25}).cascade.gradient_clip)
try:
    replace(job, space=(Uniform(field="cascade.seed", low=0, high=9),))
except ValueError as error:
    print(error)
"""
    lines = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert lines.splitlines() == ["12.5", "space: cascade.seed = 0.0: TrainJob.cascade.seed: expected int, got 0.0"]


def test_a_trial_trains_the_named_stages_alone():
    job = sweep(Uniform(field=WIDTH, low=0.05, high=0.07), stages=("limbs", "torso"))
    trial = trial_job(job, {WIDTH: 0.06})
    assert [stage.name for stage in trial.cascade.stages] == ["torso", "limbs"]
    assert {stage.bone_width for stage in trial.cascade.stages} == {0.06}


def test_a_grid_is_every_combination():
    job = sweep(
        Choice(field="without", values=((), ("depth",))),
        Uniform(field=WIDTH, low=0.05, high=0.07, step=0.01),
        Dependent(field=ARM, of=WIDTH, factor=0.75),
        search=GridSearch(),
    )
    assert grid(job) == [{"without": w, WIDTH: s} for w in ((), ("depth",)) for s in (0.05, 0.06, 0.07)]


@pytest.mark.parametrize(
    ("dimension", "values"),
    [
        (Uniform(field="f", low=0.1, high=0.5, step=0.1), (0.1, 0.2, 0.3, 0.4, 0.5)),
        (Uniform(field="f", low=2.0, high=8.0, step=3.0), (2, 5, 8)),
        (Uniform(field="f", low=0.5, high=2.5, step=1.0), (0.5, 1.5, 2.5)),
        (Choice(field="f", values=("a", None)), ("a", None)),
    ],
)
def test_values_of_a_grid_are_exact_and_of_one_type(dimension, values):
    assert grid_values(dimension) == values
    assert set(map(type, grid_values(dimension))) == set(map(type, values))
    assert ends(dimension) == (values[0], values[-1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(field="f", low=2.0, high=2.0), r"^high: expected more than 2\.0 for f"),
        (lambda: Uniform(field="f", low=0.0, high=math.inf), r"^high: expected finite"),
        (lambda: Uniform(field="f", low=0.0, high=1.0, step=0.3), r"^step: expected a whole number of steps"),
        (lambda: Uniform(field="f", low=0.0, high=1.0, step=2.0), r"^step: expected a whole number of steps"),
        (lambda: Uniform(field="f", low=0.0, high=1.0, step=0.0), r"^step: expected a whole number of steps"),
        (lambda: Uniform(field="f", low=0.0, high=1.0, step=-0.5), r"^step: expected a whole number of steps"),
        (lambda: LogUniform(field="f", low=0.0, high=1.0), r"^low: expected more than 0 for f"),
        (lambda: LogUniform(field="f", low=2.0, high=1.0), r"^high: expected more than 2\.0 for f"),
        (lambda: LogUniform(field="f", low=math.nan, high=1.0), r"^low: expected finite"),
        (lambda: Choice(field="f", values=()), r"^values: expected different ones for f"),
        (lambda: Choice(field="f", values=(1.0, 1)), r"^values: expected different ones for f"),
        (lambda: Choice(field="f", values=(1.0, math.nan)), r"^values: expected finite"),
        (lambda: Dependent(field="f", of="g", factor=math.inf), r"^factor: expected finite"),
        (lambda: RandomSearch(num_trials=0), r"^num_trials: expected at least 1, got 0"),
        (lambda: TpeSearch(num_trials=0), r"^num_trials: expected at least 1, got 0"),
        (lambda: Asha(grace_epochs=0), r"^grace_epochs: expected at least 1, got 0"),
        (lambda: Asha(grace_epochs=1, reduction_factor=1.0), r"^reduction_factor: expected more than 1"),
    ],
)
def test_empty_ranges_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


WIDTHS = Uniform(field=WIDTH, low=0.05, high=0.07)


@pytest.mark.parametrize(
    ("space", "changes", "message"),
    [
        ((), {}, "space: expected at least one dimension that is drawn"),
        (
            (replace(WIDTHS, field="cascade.stages.*.bone_with"),),
            {},
            "space: cascade.stages.*.bone_with: cascade.stages.0 has no 'bone_with'; did you mean 'bone_width'?",
        ),
        (
            (WIDTHS, replace(WIDTHS, field="cascade.stages.limbs.bone_width")),
            {},
            f"space: cascade.stages.limbs.bone_width names cascade.stages.2.bone_width, and so does {WIDTH}",
        ),
        ((WIDTHS, WIDTHS), {}, f"space: {WIDTH} names cascade.stages.0.bone_width, and so does {WIDTH}"),
        (
            (
                Choice(field="cascade.stages.limbs.teacher.link_names", values=(True, False)),
                Choice(field="cascade.stages.limbs.teacher", values=(None,)),
            ),
            {},
            "space: cascade.stages.limbs.teacher names cascade.stages.2.teacher, "
            "and so does cascade.stages.limbs.teacher.link_names",
        ),
        (
            (
                Choice(field="cascade.stages.limbs.teacher", values=(None,)),
                Choice(field="cascade.stages.limbs.teacher.link_names", values=(True, False)),
            ),
            {},
            "space: cascade.stages.limbs.teacher.link_names names cascade.stages.2.teacher.link_names, "
            "and so does cascade.stages.limbs.teacher",
        ),
        (
            (Choice(field="without", values=((), ("cascade",))),),
            {"stages": ("limbs",)},
            "space: without = ('cascade',): teacher: stage 'limbs' must have one",
        ),
        (
            (WIDTHS, Dependent(field=ARM, of="cascade.stages.*.bone_set", factor=0.7)),
            {},
            f"space: {ARM} depends on cascade.stages.*.bone_set, which is not drawn",
        ),
        (
            (
                WIDTHS,
                Dependent(field=ARM, of=WIDTH, factor=0.7),
                Dependent(field="cascade.equivariance_scale", of=ARM, factor=1.0),
            ),
            {},
            f"space: cascade.equivariance_scale depends on {ARM}, which is not drawn",
        ),
        (
            (
                Choice(field="cascade.bone_merge", values=("max", "noisy_or")),
                Dependent(field=ARM, of="cascade.bone_merge", factor=2.0),
            ),
            {},
            "space: cascade.bone_merge = 'max': cascade.bone_merge: expected a number to multiply, got 'max'",
        ),
        ((WIDTHS,), {"search": GridSearch()}, f"space: {WIDTH} is continuous; a grid needs a Choice, or a Uniform"),
        ((WIDTHS,), {"stages": ("limb",)}, "stages: the cascade has no stage 'limb', only torso, shape_prior, limbs"),
        ((WIDTHS,), {"seed": -1}, "seed: expected at least 0, got -1"),
        ((WIDTHS,), {"max_concurrent": 0}, "max_concurrent: expected at least 1, got 0"),
        ((WIDTHS,), {"max_failures": -1}, "max_failures: expected at least 0, got -1"),
        (
            (replace(WIDTHS, low=0.01),),
            {},
            f"space: {WIDTH} = 0.01: TrainJob.cascade.mask_size: a bone width of 0.01",
        ),
        (
            (
                replace(WIDTHS, field="cascade.gradient_clip"),
                Dependent(field=ARM, of="cascade.gradient_clip", factor=0.5),
            ),
            {},
            "space: cascade.gradient_clip = 0.05: TrainJob.cascade.mask_size: a bone width of 0.025",
        ),
        (
            (Uniform(field="cascade.seed", low=0.0, high=9.0),),
            {},
            "space: cascade.seed = 0.0: TrainJob.cascade.seed: expected int, got 0.0",
        ),
        (
            (Uniform(field="cascade.bone_merge", low=0.5, high=2.0, scales=True),),
            {},
            "space: cascade.bone_merge = 0.5: cascade.bone_merge: expected a number to multiply, got 'max'",
        ),
        (
            (replace(WIDTHS, field="cascade.stages.torso.bone_width"),),
            {"stages": ("limbs",)},
            "space: cascade.stages.torso.bone_width changes nothing that a trial trains",
        ),
        (
            (Uniform(field="cascade.weight_average", low=0.5, high=1.5, scales=True),),
            {},
            "space: cascade.weight_average changes nothing that a trial trains",
        ),
        (
            (Choice(field="manifest", values=("a.json", "b.json")),),
            {},
            "space: manifest must be the same in all trials",
        ),
        (
            (Choice(field="workers.num", values=(1, 2)),),
            {},
            "space: workers.num must be the same in all trials",
        ),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_before_it_starts(space, changes, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the message is compared as a plain text
        sweep(*space, **changes)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("sizes", [(64, 128), (128, 64)])
@pytest.mark.parametrize("widths", [(0.02, 0.07), (0.07, 0.02)])  # 0.02: 1.28 px on the larger map, 0.64 on the smaller
def test_ends_that_fail_only_together_are_found(sizes, widths):
    with pytest.raises(ValueError, match=r"a bone width of 0\.02 .* is 0\.64 px on a 64 px map"):
        sweep(Choice(field="cascade.mask_size", values=sizes), Choice(field=WIDTH, values=widths))


@pytest.mark.parametrize("drawn", [{}, {WIDTH: 0.06, "cascade.seed": 1}])
def test_a_trial_needs_a_value_for_every_dimension_and_no_others(drawn):
    with pytest.raises(ValueError, match="expected a value for every dimension that is drawn, and no others"):
        trial_job(sweep(WIDTHS), drawn)


def test_a_record_of_another_version_is_refused_by_path():
    text = codec.dumps(sweep(WIDTHS)).replace('"low": 0.05', '"lowest": 0.05')
    with pytest.raises(ValueError, match=r"sweep\.json\.space\[0\]: unknown key 'lowest'; did you mean 'low'"):
        codec.loads(TuneJob, text, "sweep.json")


def test_fields_of_the_cluster_are_fields_of_a_job():
    """What must be the same in all trials is named as the job names it: a renamed field would be let through."""
    job = replace(BASE, workers=Workers(num=2))
    for field, value in {"storage": "x", "name": "x", "checkpoints": "x", "tracking_uri": "x"}.items():
        with pytest.raises(ValueError, match=f"space: {field} must be the same"):
            TuneJob(base=job, space=(Choice(field=field, values=(value,)),), search=GridSearch())
