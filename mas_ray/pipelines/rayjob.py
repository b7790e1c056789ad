"""A submission as a KubeRay RayJob: one job on a cluster of its own. Pure text."""

from __future__ import annotations

import json
import math
import string
from importlib.resources import files

from mas_ray import __version__
from mas_ray.config.sweep import GridSearch, TuneJob, grid
from mas_ray.pipelines.resources import Pool, pools
from mas_ray.pipelines.submission import Submission

_POD_CPUS = 8.0
_TEMPLATE = "rayjob.yaml"


def render(submission: Submission, *, image: str | None = None) -> str:
    """The YAML that ``kubectl apply`` takes: ``rayjob.yaml``, filled.

    Args:
        submission: The job; its pods are so many that all its workers can run at once.
        image: Registry, name and version of the image; ``-cpu`` and ``-gpu`` are appended. None: ``mas-ray:VERSION``.

    Raises:
        ValueError: A worker needs more than one pod of the template has.
    """
    image = image or f"mas-ray:{__version__}"
    num_cpu_pods, num_gpu_pods = _num_pods(submission)
    values = {
        "name": submission.name,
        "entrypoint": submission.entrypoint,
        "runtime_env": json.dumps({"env_vars": submission.environment}),  # JSON is YAML
        "image_cpu": f"{image}-cpu",
        "image_gpu": f"{image}-gpu",
        "max_ingest_workers": num_cpu_pods,
        "max_train_workers": num_gpu_pods,
    }
    template = files("mas_ray.pipelines").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    return string.Template(template).substitute({name: json.dumps(value) for name, value in values.items()})


def _num_pods(submission: Submission) -> tuple[int, int]:
    """Pods without and with a GPU that hold everything at once; at least one of each, which costs nothing unused."""
    at_once = _trials_at_once(submission.job) if isinstance(submission.job, TuneJob) else 1
    cpu_pods = gpu_pods = 0
    for pool in pools(submission.job):
        num_pods = math.ceil(pool.num * at_once / _workers_per_pod(pool))
        if pool.gpus_each > 0:
            gpu_pods += num_pods
        else:
            cpu_pods += num_pods
    return max(1, cpu_pods), max(1, gpu_pods)


def _trials_at_once(job: TuneJob) -> int:
    num_trials = len(grid(job)) if isinstance(job.search, GridSearch) else job.search.num_trials
    return min(num_trials, job.max_concurrent or 1)


def _workers_per_pod(pool: Pool) -> int:
    """How many workers one pod of 8 CPUs, and of one GPU if they need any, can hold."""
    fits = math.inf
    if pool.cpus_each > 0:
        fits = _POD_CPUS // pool.cpus_each
    if pool.gpus_each > 0:
        fits = min(fits, 1.0 // pool.gpus_each)
    if fits < 1:
        raise ValueError(
            f"workers: a pod of the template has {_POD_CPUS:g} CPUs and at most one GPU, a worker asks for "
            f"{pool.cpus_each:g} and {pool.gpus_each:g}"
        )
    return pool.num if math.isinf(fits) else int(fits)
