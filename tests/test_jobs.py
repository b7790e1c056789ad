import importlib
import pkgutil

import pytest

import jobs
from mas_ray.config import codec

MODULES = [module.name for module in pkgutil.iter_modules(jobs.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_every_job_is_a_documented_literal_that_survives_json(name):
    module = importlib.import_module(f"jobs.{name}")
    assert module.__doc__
    assert f"jobs.{name}" in module.__doc__
    assert codec.loads(type(module.JOB), codec.dumps(module.JOB)) == module.JOB


def test_there_are_jobs():
    assert "demo" in MODULES
