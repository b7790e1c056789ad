"""``mas-ray requeue``: let the next ingest try takes again that were left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tyro


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Let the next ingest try takes again that were left out. What ingest is told stays as it is: change that first."""

    dataset: tyro.conf.Positional[str]
    """The dataset folder, on a disk or in an object store."""
    reason: str
    """Why they were left out, as ``rejects.jsonl`` has it: ``crashed``, say."""
    take: str | None = None
    """The id of one take; without it every take that was left out for the reason."""
    work: str | None = None
    """The folder of takes in the making or its URI, if the ingest had one named."""


def run(argv: Sequence[str]) -> int:
    """Requeue, and say which."""
    flags = tyro.cli(Flags, args=argv, prog="mas-ray requeue", description=Flags.__doc__)
    from mas_ray.pipelines.dataset_lock import work_folder
    from mas_ray.pipelines.maintain import requeue  # pyarrow loads only now
    from mas_ray.shards.location import location

    dataset = location(flags.dataset)
    requeued = requeue(dataset, work_folder(dataset, flags.work), flags.reason, flags.take)
    for item in requeued:
        print(f"{item.take_id}: {item.detail or item.reason}")
    print(f"{flags.dataset}: {len(requeued)} take(s) will be tried again by the next ingest")
    return 0
