from __future__ import annotations

import torch

from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.jobs import Execution, TrainJob
from mas_ray.pipelines.worker import _place
from mas_ray.skeleton import H36M_18
from mas_ray.training.state import create_state

CPU = torch.device("cpu")


def _job(**options) -> TrainJob:
    return TrainJob(manifest="m.json", storage="runs", cascade=cpu_cascade(), **options)


def test_a_step_is_computed_as_the_job_says():
    """Whatever it says, the optimiser goes on with the same parameters and checkpoints keep their names."""
    for execution in (Execution(), Execution(precision="bfloat16", compile=True)):
        job = _job(execution=execution)
        state = create_state(job.cascade, H36M_18, CPU)
        before, names = [id(p) for p in state.detector.parameters()], list(state.detector.state_dict())
        objective = _place(state, job.cascade.stages[1], job, CPU)
        assert objective.precision == execution.precision
        assert (objective.detector.features._compiled_call_impl is not None) == execution.compile
        assert [id(p) for p in objective.detector.parameters()] == before
        assert list(objective.detector.state_dict()) == names
