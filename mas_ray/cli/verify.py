"""``mas-ray verify``: check a dataset."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import tyro


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Check a dataset: hashes, schema, rows, splits, and a sample of rows decoded. Exit status 1: there are faults."""

    dataset: tyro.conf.Positional[str]
    """The dataset folder, or the manifest of one of its versions, on a disk or in an object store."""
    sample: int = 64
    """About how many rows to decode."""


def run(argv: Sequence[str]) -> int:
    """Verify, say every fault in a line, and answer by the exit status."""
    flags = tyro.cli(Flags, args=argv, prog="mas-ray verify", description=Flags.__doc__)
    from mas_ray.pipelines.verify import verify  # OpenCV loads only now
    from mas_ray.shards.location import location

    found = verify(location(flags.dataset), sample=flags.sample)
    for fault in found.faults:
        print(fault, file=sys.stderr)
    looked_at = f"{found.num_shards} shards, {found.num_rows} rows, {found.num_decoded} of them decoded"
    print(f"{flags.dataset}: {looked_at}: {f'{len(found.faults)} faults' if found.faults else 'no faults'}")
    print(f"{flags.dataset}: {found.splits}")
    if found.splits.warning:
        print(f"{flags.dataset}: {found.splits.warning}")
    return 1 if found.faults else 0
