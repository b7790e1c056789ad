"""Ray's part of an evaluation: a pool of workers to which takes are dealt."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import ray
import torch

from mas_ray.config.jobs import Workers
from mas_ray.inference import PoseEstimator
from mas_ray.pipelines import session
from mas_ray.pipelines.take_comparison import ComparedTake, TakeComparer, TakeToCompare
from mas_ray.shards.location import Location, location
from mas_ray.shards.manifest import SplitName


def compared_on_ray(
    estimator: PoseEstimator,
    manifest: Location,
    split: SplitName,
    todo: Sequence[TakeToCompare],
    workers: Workers,
) -> Iterator[ComparedTake]:
    """Compare takes on the connected cluster, in whatever order they are done.

    Workers read the dataset, which must be where every machine sees it; networks and reference joints are sent to them.
    """
    import ray.data  # sets up its logging on import, and takes a second

    session.quiet_data()
    num = min(workers.num, len(todo))
    takes = [{"take": pickle.dumps(take)} for take in todo]
    done = ray.data.from_items(takes, override_num_blocks=len(takes)).map(
        cast(Any, _Worker),  # Ray's annotation knows functions only
        # In a list a reference stays one, and the networks are stored once.
        fn_constructor_args=([ray.put(estimator)], str(manifest), split, workers),
        compute=ray.data.ActorPoolStrategy(size=num, max_tasks_in_flight_per_actor=1),
        num_cpus=workers.cpus_each,
        num_gpus=workers.gpus_each or None,
    )
    for row in done.iter_rows():
        yield pickle.loads(row["compared"])


class _Worker:
    def __init__(self, estimator: Sequence[Any], manifest: str, split: SplitName, workers: Workers) -> None:
        torch.set_num_threads(max(1, int(workers.cpus_each)))
        networks: PoseEstimator = cast(Any, ray).get(estimator[0])
        if workers.gpus_each:
            networks.to(torch.device("cuda"))
        self._compare = TakeComparer(networks, location(manifest), split)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, bytes]:
        return {"compared": pickle.dumps(self._compare(pickle.loads(row["take"])))}
