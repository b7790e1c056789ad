"""``mas-ray gc``: remove from a dataset folder what no kept version needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from mas_ray.cli.text_table import text_table

_NAMES = {
    "temporary": "temporary files of processes that died",
    "version": "manifests of earlier versions",
    "shard": "shards of no kept version",
    "part": "parts whose rows are in shards",
    "work": "work trees of other parameters",
}


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Remove from a dataset folder what no kept version needs."""

    dataset: tyro.conf.Positional[str]
    """The dataset folder, on a disk or in an object store."""
    work: str | None = None
    """The folder of takes in the making or its URI, if the ingest had one named."""
    keep: int = 1
    """How many versions to keep, counted from the newest."""
    dry_run: bool = False
    """Say what would be removed, and remove nothing."""


def run(argv: Sequence[str]) -> int:
    """Collect, and say what and how much."""
    flags = tyro.cli(Flags, args=argv, prog="mas-ray gc", description=Flags.__doc__)
    from mas_ray.pipelines.dataset_lock import work_folder
    from mas_ray.pipelines.maintain import collect_garbage  # pyarrow loads only now
    from mas_ray.shards.location import location

    sizes: defaultdict[str, list[int]] = defaultdict(list)
    dataset = location(flags.dataset)
    work = work_folder(dataset, flags.work)
    for item in collect_garbage(dataset, work, keep=flags.keep, dry_run=flags.dry_run):
        sizes[item.kind].append(item.num_bytes)
        print(f"{'would remove' if flags.dry_run else 'removed'} {str(item.path).removeprefix(f'{dataset}/')}")
    if not sizes:
        print(f"{flags.dataset}: nothing to remove")
        return 0
    rows = [[_NAMES[kind], str(len(found)), _amount(sum(found))] for kind, found in sorted(sizes.items())]
    rows.append(["together", str(sum(map(len, sizes.values()))), _amount(sum(map(sum, sizes.values())))])
    print(text_table(rows))
    return 0


def _amount(num_bytes: int) -> str:
    return f"{num_bytes} B" if num_bytes < 10_000 else f"{num_bytes / 1e6:.2f} MB"
