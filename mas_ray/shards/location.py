"""Where a dataset's files are: on a disk, or in a store that pyarrow has a filesystem for.

Code that reads or writes datasets takes a ``Location``. A ``Path`` stays what it is; a ``RemotePath`` has the few
methods of it that datasets need, so both go through the same lines.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal, cast
from urllib.parse import quote, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq


@dataclass(frozen=True, kw_only=True)
class RemotePath:
    """A file or folder in an object store. Equal addresses are equal paths."""

    uri: str
    path: str = field(compare=False)
    """Within the filesystem."""
    filesystem: pafs.FileSystem = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.uri

    def __truediv__(self, name: str) -> RemotePath:
        parts = urlsplit(self.uri)
        uri = parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name)}").geturl()
        return replace(self, uri=uri, path=f"{self.path.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return PurePosixPath(self.path).name

    @property
    def parent(self) -> RemotePath:
        """The folder that it lies in."""
        parts = urlsplit(self.uri)
        uri = parts._replace(path=parts.path.rstrip("/").rpartition("/")[0]).geturl()
        return replace(self, uri=uri, path=self.path.rstrip("/").rpartition("/")[0])

    def info(self) -> pafs.FileInfo:
        """Type, size and time of change; asks the store."""
        return self.filesystem.get_file_info(self.path)

    def exists(self) -> bool:
        """Whether there is anything of this name."""
        return self.info().type != pafs.FileType.NotFound

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self.info().type == pafs.FileType.File

    def is_dir(self) -> bool:
        """Whether names below it exist."""
        return self.info().type == pafs.FileType.Directory

    def open(self, mode: Literal["rb"] = "rb") -> pa.NativeFile:
        """The file for reading at random."""
        del mode
        return self.filesystem.open_input_file(self.path)

    def read_bytes(self) -> bytes:
        """The whole file."""
        with self.filesystem.open_input_stream(self.path) as file:
            return file.readall()

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole file as text."""
        return self.read_bytes().decode(encoding)

    def unlink(self) -> None:
        """Remove the file."""
        self.filesystem.delete_file(self.path)


Location = Path | RemotePath


def location(address: str | Path) -> Location:
    """What a path or a URI (``s3://``, ``gs://``, ``fsspec+memory://``, …) stands for; ``file://`` is a path.

    Credentials come from the environment, as the store's own tools find them.

    Raises:
        ValueError: No filesystem knows the address, or it has a secret in it.
    """
    text = str(address)
    if "://" not in text or isinstance(address, Path):
        return Path(address)
    parts = urlsplit(text)
    if parts.scheme == "file":
        return Path(pafs.FileSystem.from_uri(text)[1])
    if parts.password is not None:
        raise ValueError(
            f"{parts._replace(netloc=parts.hostname or '').geturl()}: credentials in an address end up in "
            "records; expected them in the environment"
        )
    try:
        filesystem, path = pafs.FileSystem.from_uri(text)
    except (pa.ArrowException, OSError, ValueError, ImportError) as error:
        raise ValueError(f"{text}: no such store: {str(error).splitlines()[0]}") from None
    return RemotePath(uri=text.rstrip("/"), path=path.rstrip("/"), filesystem=filesystem)


def absolute(address: str) -> str:
    """The same address for whoever has another working directory."""
    found = location(address)
    return str(found.absolute()) if isinstance(found, Path) else address


def names_in(folder: Location) -> list[str]:
    """What lies directly in a folder, in order; nothing if there is no such folder."""
    if isinstance(folder, Path):
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    infos = folder.filesystem.get_file_info(pafs.FileSelector(folder.path, allow_not_found=True))
    return sorted(info.base_name for info in infos)


def files_below(folder: Location) -> Iterator[tuple[Location, int]]:
    """Every file at any depth below a folder and its bytes, in order."""
    if isinstance(folder, Path):
        yield from ((path, path.stat().st_size) for path in sorted(folder.rglob("*")) if path.is_file())
        return
    selector = pafs.FileSelector(folder.path, allow_not_found=True, recursive=True)
    for info in sorted(folder.filesystem.get_file_info(selector), key=lambda info: info.path):
        if info.type == pafs.FileType.File:
            yield folder / info.path.removeprefix(folder.path).lstrip("/"), info.size


def read_lines(file: Location) -> Iterator[str]:
    """The lines of a text file, one at a time."""
    if isinstance(file, Path):
        with file.open(encoding="utf-8") as lines:
            yield from lines
        return
    with file.open() as opened, io.TextIOWrapper(cast(BinaryIO, opened), encoding="utf-8") as lines:
        yield from lines


def remove_tree(folder: Location) -> None:
    """Remove a folder and everything below it; nothing if there is no such folder."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.is_dir():
        folder.filesystem.delete_dir(folder.path)


def open_parquet(file: Location) -> pq.ParquetFile:
    """A Parquet file, whose row groups are then read one by one."""
    if isinstance(file, Path):
        return pq.ParquetFile(file)
    return pq.ParquetFile(file.path, filesystem=file.filesystem)


@contextmanager
def publishing(target: Location) -> Generator[Path]:
    """A temporary local file to write; it has its name, whole and safe, when the block ends without an error.

    On a disk it is a neighbour that is synced and renamed; to a store it is uploaded, which shows it when it is whole.
    A block that leaves no file publishes none.
    """
    if isinstance(target, RemotePath):
        with tempfile.TemporaryDirectory(prefix="mas-ray-") as folder:
            partial = Path(folder) / target.name
            yield partial
            if partial.exists():
                upload(partial, target)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")  # no two processes share one
    try:
        yield partial
        if partial.exists():
            _sync(partial)
            partial.replace(target)
            _sync(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def upload(file: Path, target: RemotePath) -> None:
    """Copy a file to a store, which shows it when it is whole."""
    # Not by a stream of ours: closed by an exception, it would publish what it has got so far.
    here = pafs.LocalFileSystem()
    pafs.copy_files(str(file), target.path, source_filesystem=here, destination_filesystem=target.filesystem)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
