import numpy as np
from made_up_sweep import WEIGHT, sweep_job, write_trial

from mas_ray.config.search_space import Choice, LogUniform, Uniform
from mas_ray.config.sweep import GridSearch, RandomSearch, TpeSearch
from mas_ray.pipelines.draw import draw, num_trials
from mas_ray.pipelines.sweep_folder import Outcome, end_trial, read_trials


def test_a_random_trial_is_its_number_and_the_seed(tmp_path):
    """So that a sweep that is taken up again draws what it would have drawn."""
    job, other = sweep_job(tmp_path), sweep_job(tmp_path, seed=1)
    drawn = [draw(job, number, []) for number in range(4)]
    assert drawn == [draw(job, number, []) for number in range(4)]
    assert len({values[WEIGHT] for values in drawn}) == 4
    assert draw(other, 0, []) != drawn[0]
    assert all(0.1 <= values[WEIGHT] <= 10 for values in drawn)
    assert {values["without"] for values in (draw(job, number, []) for number in range(20))} == {(), ("geodesic",)}


def test_a_logarithmic_dimension_is_drawn_so(tmp_path):
    job = sweep_job(tmp_path)
    logs = np.log10([draw(job, number, [])[WEIGHT] for number in range(100)])
    assert abs(np.mean(logs)) < 0.2


def test_a_grid_has_every_combination_once(tmp_path):
    space = (Uniform(field=WEIGHT, low=1.0, high=3.0, step=1.0), Choice(field="cascade.seed", values=(0, 1)))
    job = sweep_job(tmp_path, space=space, search=GridSearch())
    drawn = [draw(job, number, []) for number in range(num_trials(job))]
    assert [tuple(values.values()) for values in drawn] == [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)]


def test_tpe_draws_where_it_was_good(tmp_path):
    space = (LogUniform(field=WEIGHT, low=0.1, high=10.0),)
    job = sweep_job(tmp_path, space=space, search=TpeSearch(num_trials=40))
    for number, weight in enumerate(np.geomspace(0.1, 10.0, 24)):
        write_trial(job, number, float(weight), [1.0, 1.0, float(abs(np.log(weight / 0.3)))])
        end_trial(tmp_path / "sweep", number, Outcome(ending="finished"))
    trials = read_trials(tmp_path / "sweep")
    near = [abs(np.log10(draw(job, number, trials)[WEIGHT] / 0.3)) < 0.5 for number in range(24, 40)]
    random = sweep_job(tmp_path, space=space, search=RandomSearch(num_trials=40))
    by_chance = [abs(np.log10(draw(random, number, [])[WEIGHT] / 0.3)) < 0.5 for number in range(24, 40)]
    assert np.mean(near) > 0.8 > np.mean(by_chance)


def test_tpe_heeds_trials_that_were_stopped_or_failed_or_run(tmp_path):
    job = sweep_job(tmp_path, search=TpeSearch(num_trials=8))
    write_trial(job, 0, 1.0, [0.5])
    end_trial(tmp_path / "sweep", 0, Outcome(ending="stopped"))
    write_trial(job, 1, 2.0, [])
    end_trial(tmp_path / "sweep", 1, Outcome(ending="failed", reason="bad"))
    write_trial(job, 2, 3.0, [0.4])
    drawn = draw(job, 3, read_trials(tmp_path / "sweep"))
    assert set(drawn) == {WEIGHT, "without"}
