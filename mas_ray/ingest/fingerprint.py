"""Content hashes that are remembered: a file whose stat has not changed is not read again.

A line of the memory is ``[path, size, mtime_ns, ctime_ns, inode, sha256]`` in JSON. Lines are only ever appended, so a
process may be killed at any moment: a torn line does not parse and is passed over. One process writes at a time.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from mas_ray.ingest.rejects import BadTakeError
from mas_ray.shards.location import Location, RemotePath
from mas_ray.shards.manifest import file_sha256
from mas_ray.shards.write import write_text

Signature = tuple[int, int, int, int]
"""Size, mtime_ns, ctime_ns, inode: the change time catches an mtime set back, the inode a file put in its place."""

_SETTLED_NS = 2_000_000_000
"""A file that changed less than this before it was read may change again within one tick of its file system's clock,
unseen by its stat (FAT ticks every two seconds), so its hash is not remembered from run to run."""
_AHEAD = 64
"""Files in the queue of the hashing threads."""


class ChangedWhileReadError(BadTakeError):
    """A file changed between two looks at it: what was read is of no content that ever was."""

    def __init__(self, path: str) -> None:
        super().__init__(
            "changed_while_read", f"{Path(path).name}: changed while it was read; the next run tries again"
        )


class Fingerprints:
    """SHA-256 of files, each read once for as long as its stat stays the same.

    A context manager: the block's end, if it is reached without an error, forgets files that nobody asked for.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known: dict[str, tuple[Signature, str]] = {}
        self._unsettled: set[str] = set()
        self._asked: set[str] = set()
        self._num_lines = 0
        for path, signature, sha256 in _read_lines(memory):
            self._known[path] = (signature, sha256)
            self._num_lines += 1
        memory.parent.mkdir(parents=True, exist_ok=True)
        self._file = memory.open("a+b")
        if self._file.tell() and not _ends_in_newline(self._file):
            self._file.write(b"\n")  # a line that was torn by a kill stays alone

    def __enter__(self) -> Fingerprints:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None and self._num_lines > 2 * len(self._asked) + 100:
            kept = sorted(self._asked & self._known.keys() - self._unsettled)
            write_text(self._memory, "".join(_line(path, *self._known[path]) for path in kept))

    def sha256(self, path: Location | str) -> str:
        """Hex SHA-256 of a file's content.

        Raises:
            ChangedWhileReadError: It changed meanwhile.
            BadTakeError: It cannot be read (``unreadable_file``).
        """
        known = self.recall(path)
        return known if known is not None else self._learn(path, *_hash(path))

    def learn(self, paths: Iterable[Location | str]) -> dict[str, str]:
        """``sha256`` of files by path, several at a time; those that cannot be hashed are left out."""
        hashes = dict[str, str]()

        def unknown() -> Iterator[Location | str]:
            for path in paths:
                if (known := self.recall(path)) is None:
                    yield path
                else:
                    hashes[str(path)] = known

        with ThreadPoolExecutor() as threads:  # hashing releases the interpreter lock
            try:
                for path, future in _ahead(threads, unknown()):
                    with suppress(BadTakeError):
                        hashes[str(path)] = self._learn(path, *future.result())
            finally:
                threads.shutdown(wait=False, cancel_futures=True)  # Ctrl-C need not wait for the queue
        return hashes

    def recall(self, path: Location | str) -> str | None:
        """``sha256`` of a file if it is known without reading."""
        name = _name(path)
        self._asked.add(name)
        known = self._known.get(name)
        return known[1] if known is not None and self.is_unchanged(path) else None

    def note(self, path: Location | str, sha256: str) -> None:
        """Remember a file that this process has just written and nobody else will change."""
        self._learn(path, _signature(path), sha256, read_ns=None)

    def is_unchanged(self, path: Location | str) -> bool:
        """Whether a file is still what ``sha256`` hashed."""
        known = self._known.get(_name(path))
        try:
            return known is not None and known[0] == _signature(path)
        except BadTakeError:
            return False

    def _learn(self, path: Location | str, signature: Signature, sha256: str, read_ns: int | None) -> str:
        name = _name(path)
        self._known[name] = (signature, sha256)
        self._asked.add(name)
        if read_ns is None or max(signature[1], signature[2]) < read_ns - _SETTLED_NS:
            self._file.write(_line(name, signature, sha256).encode())
            self._file.flush()
            self._num_lines += 1
            self._unsettled.discard(name)
        else:
            self._unsettled.add(name)
        return sha256


def _name(path: Location | str) -> str:
    return str(path) if isinstance(path, RemotePath) else os.path.abspath(path)  # noqa: PTH100  # as below


def _hash(path: Location | str) -> tuple[Signature, str, int]:
    """Signature, hash, and when the reading began."""
    before, read_ns = _signature(path), time.time_ns()
    try:
        sha256 = file_sha256(path if isinstance(path, RemotePath) else Path(path))
    except OSError as error:
        raise _unreadable(str(path), error) from None
    if _signature(path) != before:
        raise ChangedWhileReadError(str(path))
    return before, sha256, read_ns


def _signature(path: Location | str) -> Signature:
    if isinstance(path, RemotePath):
        return _signature_in_store(path)
    try:
        found = os.stat(path)  # noqa: PTH116  # twice as fast as Path.stat, and asked for every file of a corpus
    except OSError as error:
        raise _unreadable(str(path), error) from None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _signature_in_store(path: RemotePath) -> Signature:
    """Stores have neither inodes nor change times."""
    info = path.info()
    if info.size is None:
        raise BadTakeError("unreadable_file", f"{path.name}: no such file")
    return info.size, info.mtime_ns or 0, 0, 0


def _unreadable(path: str, error: OSError) -> BadTakeError:
    return BadTakeError("unreadable_file", f"{Path(path).name}: {error.strerror or error}")


def _ahead(
    threads: Executor, paths: Iterable[Location | str]
) -> Iterator[tuple[Location | str, Future[tuple[Signature, str, int]]]]:
    """Each path with its hash to come; only some are in the queue at a time."""
    stream = iter(paths)
    queue = [(path, threads.submit(_hash, path)) for path in islice(stream, _AHEAD)]
    while queue:
        yield queue.pop(0)
        queue += [(path, threads.submit(_hash, path)) for path in islice(stream, 1)]


def _line(path: str, signature: Signature, sha256: str) -> str:
    return json.dumps([path, *signature, sha256]) + "\n"


def _read_lines(memory: Path) -> Iterator[tuple[str, Signature, str]]:
    if not memory.is_file():
        return
    with memory.open("rb") as file:
        for line in file:
            try:
                path, size, mtime_ns, ctime_ns, inode, sha256 = json.loads(line)
            except (ValueError, TypeError):  # torn, or no such line
                continue
            yield path, (size, mtime_ns, ctime_ns, inode), sha256


def _ends_in_newline(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
