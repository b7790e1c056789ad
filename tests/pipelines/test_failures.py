from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.jobs import Execution, TrainJob, Workers
from mas_ray.pipelines.failures import LastingError, StopAtOnce, memory_explained

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def _job(**options) -> TrainJob:
    return TrainJob(manifest="m.json", storage="runs", cascade=cpu_cascade(), **options)


@pytest.mark.parametrize("error", [ValueError("wrong"), FloatingPointError("bad step"), MemoryError("too little")])
def test_what_would_fail_again_stops_at_once(error):
    with pytest.raises(LastingError, match=rf"^{error}$"):
        StopAtOnce().after_exception(None, {0: RuntimeError("connection closed by peer"), 1: error})


def test_what_may_pass_is_left_to_be_retried():
    StopAtOnce().after_exception(None, {0: RuntimeError("connection closed by peer"), 1: OSError("disk is away")})


def _allocate_with_torch():
    torch.empty(10**15)


def _allocate_with_numpy():
    np.empty(10**16)


def _cuda_is_full():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore of it.")


@pytest.mark.parametrize("allocate", [_allocate_with_torch, _allocate_with_numpy, _cuda_is_full])
def test_every_lack_of_memory_says_what_to_lower(allocate):
    with pytest.raises(MemoryError) as caught, memory_explained(_job(), CPU):
        allocate()
    assert str(caught.value) == (
        "out of memory on cpu: lower cascade.batch_size (now 4 frame sets over 1 worker) or "
        "cascade.equivariance_views (now 1) under another run name"
    )


def test_a_full_gpu_has_other_ways_out():
    job = _job(workers=Workers(num=2, gpus_each=1.0))
    job = replace(job, cascade=replace(job.cascade, equivariance_views=None))
    for precision, end in (("float32", "or set execution.precision to bfloat16"), ("bfloat16", "or raise workers.num")):
        changed = replace(job, execution=Execution(precision=precision))
        with (
            pytest.raises(MemoryError, match="now 4 frame sets over 2 workers") as caught,
            memory_explained(changed, CUDA),
        ):
            _cuda_is_full()
        assert "(now all)" in str(caught.value)
        assert str(caught.value).endswith(end)


def test_other_errors_pass_as_they_are():
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), memory_explained(_job(), CPU):
        raise RuntimeError("shapes differ")


@pytest.mark.slow
@pytest.mark.ray
def test_a_stage_that_explodes_stops_both_workers_at_once(tmp_path, tiny_dataset):
    """Not tried again, one line on the terminal, and the frame sets of the step in the stage's folder."""
    torso = replace(cpu_cascade().stages[0], learning_rates=((1, 1e36),))
    job = TrainJob(
        manifest=str(tiny_dataset.manifest),
        storage=str(tmp_path / "runs"),
        cascade=replace(cpu_cascade(), stages=(torso,), steps_per_epoch=8),
        workers=Workers(num=2),
    )
    (tmp_path / "job.json").write_text(codec.dumps(job))
    command = [sys.executable, "-m", "mas_ray.cli.main", "train", "--job", str(tmp_path / "job.json")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("mas-ray train: stage 'torso': loss is not finite in stage 'torso', step 1, rows ["), last
    (told,) = (tmp_path / "runs" / job.name / "stages" / "0-torso").glob("bad_step_*.json")
    assert len(json.loads(told.read_text())["frame_sets"]) == job.cascade.batch_size
