"""Where a dataset is made, and one process at a time making it."""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from mas_ray.shards.location import Location

_OWNER = "dataset"


def work_folder(dataset: Location, work: str | None) -> Path:
    """The folder of takes in the making: the one beside the shards on a disk, the one that is named for a store.

    Raises:
        ValueError: None is named for a store, one is named for a disk, or it holds other things than this dataset's.
    """
    if isinstance(dataset, Path):
        if work is not None:
            raise ValueError(f"work: {dataset} is on a disk, where takes are made in {dataset / 'work'}; leave it away")
        return dataset / "work"
    if work is None:
        raise ValueError(f"work: {dataset} is no disk; name a folder for takes in the making, shared by all machines")
    folder = Path(work)
    if folder.is_dir() and any(folder.iterdir()) and _owner(folder) != str(dataset):
        raise ValueError(f"work: {work} holds {_owner(folder) or 'other things'}; expected a folder of its own")
    return folder


def _owner(work: Path) -> str | None:
    """The dataset that is made in a work folder, if it says."""
    path = work / _OWNER
    return path.read_text(encoding="utf-8") if path.is_file() else None


@contextmanager
def locked(work: Path, dataset: Location) -> Generator[None, None, None]:
    """Hold a work folder, made if need be, against other writers; the lock ends with the process at the latest.

    Raises:
        ValueError: Another process holds it.
    """
    work.mkdir(parents=True, exist_ok=True)
    if not isinstance(dataset, Path):
        (work / _OWNER).write_text(str(dataset), encoding="utf-8")
    with (work / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"output: another process is writing {dataset}") from None
        yield
