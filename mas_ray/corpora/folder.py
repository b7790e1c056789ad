"""The plain corpus: a folder of takes and of single videos, laid out as ``corpora.layout`` says.

Links are followed to regular files within the corpus only; nothing but regular files is ever opened.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from mas_ray.corpora import layout
from mas_ray.corpora.layout import BadSourceError, Entry, RejectedSource
from mas_ray.corpora.names import printable
from mas_ray.corpora.take import Take

_ERRORS_OF_A_SOURCE = {errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EPERM}
"""The others are the machine's and may be gone tomorrow."""


def sources(root: Path) -> Iterator[Take | RejectedSource]:
    """The takes below ``root`` in the order of their ids, and in their places what was rejected.

    The names are listed at once; a take's files are looked at when the iteration reaches it.

    Raises:
        ValueError: There is no such folder, it is itself a take, or it holds none.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; expected a folder of takes")
    try:
        return layout.sources(_Folder(root=str(root), real_root=os.path.realpath(root)))
    except ValueError as error:
        raise ValueError(f"{root}: {error}") from None


def takes(root: Path) -> Iterator[Take]:
    """The ``sources`` that are takes."""
    return (source for source in sources(root) if isinstance(source, Take))


@dataclass(frozen=True, kw_only=True)
class _Folder:
    """A corpus in a folder. The real root is free of links."""

    root: str
    real_root: str

    def entries(self, folder: str) -> list[Entry]:
        try:
            with os.scandir(self.address(folder)) as found:
                return [self._entry(entry, folder) for entry in found]
        except OSError as error:
            raise _not_ours(error, folder) from None

    def address(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def local_file(self, name: str) -> AbstractContextManager[Path]:
        return nullcontext(Path(self.address(name)))

    def _entry(self, entry: os.DirEntry[str], folder: str) -> Entry:
        name = f"{folder}/{entry.name}" if folder else entry.name
        if entry.is_symlink():
            return self._link(entry, name)
        is_folder = entry.is_dir(follow_symlinks=False)
        return Entry(name=entry.name, is_folder=is_folder, fault=None if is_folder else _fault(entry, name))

    def _link(self, entry: os.DirEntry[str], name: str) -> Entry:
        is_folder = False
        try:
            target = os.path.realpath(entry.path, strict=True)
            is_folder = entry.is_dir()
            fault = None if is_folder else _fault(entry, name)
        except OSError as error:
            target = os.path.realpath(entry.path)
            fault = _not_ours(error, name)
        if not f"{target}/".startswith(f"{self.real_root}/"):
            fault = BadSourceError("unsafe_link", f"{printable(name)}: a link that leads out of the corpus")
        return Entry(name=entry.name, is_folder=is_folder, is_link=True, fault=fault)


def _fault(entry: os.DirEntry[str], name: str) -> BadSourceError | None:
    """Why a file must not be opened. A pipe would block, a device never end."""
    if not entry.is_file():
        return BadSourceError("unreadable_file", f"{printable(name)}: not a regular file")
    if not os.access(entry.path, os.R_OK):
        return BadSourceError("unreadable_file", f"{printable(name)}: no permission to read it")
    return None


def _not_ours(error: OSError, name: str) -> BadSourceError:
    """What is wrong with a source that the system will not open.

    Raises:
        OSError: The error is the machine's.
    """
    if error.errno not in _ERRORS_OF_A_SOURCE:
        raise error
    if error.errno == errno.ELOOP:
        return BadSourceError("unsafe_link", f"{printable(name)}: a link in a circle")
    return BadSourceError("unreadable_file", f"{printable(name)}: {os.strerror(error.errno)}")
