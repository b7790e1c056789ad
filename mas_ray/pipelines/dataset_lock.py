"""Where a dataset is made, and one process at a time making it."""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from mas_ray.shards.location import Location


def work_folder(dataset: Location, work: str | None) -> Path:
    """The folder of takes in the making; None: the one beside the shards.

    Raises:
        ValueError: None is named for a dataset that is not on a disk.
    """
    if work is not None:
        return Path(work)
    if isinstance(dataset, Path):
        return dataset / "work"
    raise ValueError(f"work: {dataset} is no disk; name a folder for takes in the making, shared by all machines")


@contextmanager
def locked(work: Path) -> Generator[None, None, None]:
    """Hold a work folder, made if need be, against other writers; the lock ends with the process at the latest.

    Raises:
        ValueError: Another process holds it.
    """
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"output: another process is writing the dataset of {work}") from None
        yield
