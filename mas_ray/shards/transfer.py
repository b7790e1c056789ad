"""Whole files and folders between a store and a disk of this machine, many at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import pyarrow.fs as pafs

from mas_ray.shards.location import Location, RemotePath

_T = TypeVar("_T")
_R = TypeVar("_R")
_NUM_AT_ONCE = 16
"""Requests on their way: a store answers each in tens of milliseconds, and any number beside each other."""


class Version(NamedTuple):
    """What a store says of a file. Another content has another version, but for changes within a tick of its clock."""

    size: int
    mtime_ns: int | None
    """None: the store keeps no times, and nobody can tell whether the content is another one."""


def list_tree(folder: RemotePath) -> dict[str, Version]:
    """Every file at any depth below a folder, by its name there, in one listing; none if there is no such folder."""
    selector = pafs.FileSelector(folder.path, allow_not_found=True, recursive=True)
    return {
        info.path.removeprefix(folder.path).lstrip("/"): _version(info)
        for info in folder.filesystem.get_file_info(selector)
        if info.type == pafs.FileType.File
    }


def version_of(file: RemotePath) -> Version:
    """What the store says of a file now."""
    return _version(file.info())


def fetch(source: RemotePath, target: Path) -> None:
    """Copy a file to a disk, where it is whole or not there.

    Raises:
        OSError: There is no such file (``FileNotFoundError``), or the store or the disk fails.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    here = pafs.LocalFileSystem()
    try:
        pafs.copy_files(source.path, str(partial), source_filesystem=source.filesystem, destination_filesystem=here)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def fetch_tree(source: RemotePath, target: Path) -> None:
    """Copy everything below a folder to a disk; raises like ``fetch``."""
    at_once(lambda name: fetch(source / name, target / name), list_tree(source))


def at_once(call: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
    """What a function of each item gives, in order, several at a time; the first error is raised."""
    with ThreadPoolExecutor(_NUM_AT_ONCE) as threads:
        return list(threads.map(call, items))


@contextmanager
def local_copy(place: Location) -> Generator[Path]:
    """A file or folder as one of this machine's disk while the block runs: itself, or a copy that goes with the block.

    Raises:
        OSError: The store or the disk fails. What is not there gives a path where nothing is.
    """
    if isinstance(place, Path):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="mas-ray-") as scratch:
        copy = Path(scratch) / place.name
        if place.is_file():
            fetch(place, copy)
        else:
            fetch_tree(place, copy)
        yield copy


def _version(info: pafs.FileInfo) -> Version:
    return Version(size=info.size or 0, mtime_ns=info.mtime_ns)
