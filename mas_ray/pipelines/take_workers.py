"""Takes dealt to a pool of Ray workers, each with the networks of a checkpoint."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import ray
import torch

from mas_ray.config.jobs import Workers
from mas_ray.inference import FrameSetEstimator
from mas_ray.pipelines import session

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def on_ray(
    create: Callable[[FrameSetEstimator], Callable[[_Task], _Result]],
    estimator: FrameSetEstimator,
    tasks: Sequence[_Task],
    workers: Workers,
) -> Iterator[_Result]:
    """What becomes of some tasks on the connected cluster, in whatever order they are done.

    Args:
        create: Makes, in a worker, the function of a task; it travels, as tasks and results do.
        estimator: The networks. They are sent to the workers once.
        tasks: One for each take.
        workers: How many there are at most.
    """
    import ray.data  # sets up its logging on import, and takes a second

    session.quiet_data()
    num = min(workers.num, len(tasks))
    rows = [{"task": pickle.dumps(task)} for task in tasks]
    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        cast(Any, _Worker),  # Ray's annotation knows functions only
        # In a list a reference stays one, and the networks are stored once.
        fn_constructor_args=(pickle.dumps(create), [ray.put(estimator)], workers),
        compute=ray.data.ActorPoolStrategy(size=num, max_tasks_in_flight_per_actor=1),
        num_cpus=workers.cpus_each,
        num_gpus=workers.gpus_each or None,
    )
    for row in done.iter_rows():
        yield pickle.loads(row["result"])


class _Worker:
    def __init__(self, create: bytes, estimator: Sequence[Any], workers: Workers) -> None:
        torch.set_num_threads(max(1, int(workers.cpus_each)))
        networks: FrameSetEstimator = cast(Any, ray).get(estimator[0])
        if workers.gpus_each:
            networks.to(torch.device("cuda"))
        self._do: Callable[[Any], Any] = pickle.loads(create)(networks)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, bytes]:
        return {"result": pickle.dumps(self._do(pickle.loads(row["task"])))}
