"""The program benchmarks/scaling.py: its arithmetic, and its pool on a small cluster."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
POOL = """
import tempfile
from pathlib import Path
import ray, scaling
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
with tempfile.TemporaryDirectory() as folder:
    slept = scaling.run_pool(2, 8, 0.2, Path(folder))
print(len(slept), len({take.worker for take in slept}), min(take.end_s - take.start_s for take in slept) >= 0.2)
"""


@pytest.fixture
def scaling(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("scaling")


def test_throughput_is_that_of_the_time_in_which_all_are_at_work(scaling):
    """Worker 1 comes three seconds late, and worker 0 has nothing left to do in the last two."""
    first = [scaling.Slept(worker=0, start_s=2.0 * i, end_s=2.0 * i + 2) for i in range(5)]
    late = [scaling.Slept(worker=1, start_s=3 + 2.0 * i, end_s=5 + 2.0 * i) for i in range(4)]
    # From 5 s, when the late one has finished its first, to 9 s, when the last take begins: 6, 7, 8 and 9.
    assert scaling.steady_throughput(first + late) == pytest.approx(1.0)


def test_too_few_takes(scaling):
    slept = [scaling.Slept(worker=worker, start_s=0.0, end_s=1.0) for worker in range(3)]
    with pytest.raises(ValueError, match="3 takes are too few for 3 workers"):
        scaling.steady_throughput(slept)


@pytest.mark.slow
@pytest.mark.ray
def test_the_pool_deals_every_take_once():
    done = subprocess.run(
        [sys.executable, "-c", POOL], cwd=BENCHMARKS, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["8", "2", "True"], done.stderr
