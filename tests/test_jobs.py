import importlib
import pkgutil
from dataclasses import replace

import pytest

import jobs
from mas_ray.config import codec
from mas_ray.config.ablations import ablated
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.published import PAPER
from mas_ray.config.sweep import grid, trial_job

MODULES = [module.name for module in pkgutil.iter_modules(jobs.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_every_job_is_a_documented_literal_that_survives_json(name):
    module = importlib.import_module(f"jobs.{name}")
    assert module.__doc__
    assert f"jobs.{name}" in module.__doc__
    assert codec.loads(type(module.JOB), codec.dumps(module.JOB)) == module.JOB


def test_there_are_jobs():
    assert "demo" in MODULES


def test_the_ablations_train_each_recipe_of_the_papers_tables_once_per_seed():
    job = importlib.import_module("jobs.ablations").JOB
    trials = [trial_job(job, drawn) for drawn in grid(job)]
    trained = [ablated(trial.cascade, trial.without) for trial in trials]
    assert all(trained.count(recipe) == 1 for recipe in trained)
    for seed in (0, 1, 2):
        cascade = replace(cpu_cascade(), seed=seed)
        assert {row.recipe(cascade) for row in PAPER} == {recipe for recipe in trained if recipe.seed == seed}
    assert job.early_stopping is None
