"""Where a dataset is made, and one process at a time making it."""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from mas_ray.pipelines.kept_folder import KeptFolder, kept_folder
from mas_ray.shards.location import Location, RemotePath, location, names_in

_OWNER = "dataset"


def work_folder(dataset: Location, work: str | None) -> Location:
    """The folder of takes in the making: the one beside the shards, or for a store another one that is named.

    Raises:
        ValueError: One is named for a disk, or it holds other things than this dataset's.
    """
    if isinstance(dataset, Path):
        if work is not None:
            raise ValueError(f"work: {dataset} is on a disk, where takes are made in {dataset / 'work'}; leave it away")
        return dataset / "work"
    folder = dataset / "work" if work is None else location(work)
    if names_in(folder) and _owner(folder) != str(dataset):
        raise ValueError(f"work: {folder} holds {_owner(folder) or 'other things'}; expected a folder of its own")
    return folder


def _owner(work: Location) -> str | None:
    """The dataset that is made in a work folder, if it says."""
    path = work / _OWNER
    return path.read_text(encoding="utf-8") if path.is_file() else None


@contextmanager
def locked(work: Location, dataset: Location) -> Generator[KeptFolder, None, None]:
    """Hold a work folder, made if need be, against other writers; the lock ends with the process at the latest.

    One in a store is given as a copy on this machine's disk, and its lock ends half a minute after the process.

    Raises:
        ValueError: Another process holds it.
    """
    with kept_folder(work, removes=True) as kept:
        kept.path.mkdir(parents=True, exist_ok=True)
        if not isinstance(dataset, Path):
            (kept.path / _OWNER).write_text(str(dataset), encoding="utf-8")
        if isinstance(work, RemotePath):
            kept.push()  # whose it is
            yield kept
            return
        with (kept.path / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"output: another process is writing {dataset}") from None
            yield kept
