"""A folder of the driver's disk whose record is in a store.

The store is the record; the driver works on a copy below the user's cache folder, which may be lost at any time. At the
start the copy becomes what the store has. What changes in it is pushed: by a thread every few seconds, and when the
driver says so. A file that speaks of others gets there after them, and goes before them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import signal
import threading
import uuid
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from mas_ray.assets import default_cache
from mas_ray.pipelines.lease import LEASE, BusyError, Lease
from mas_ray.pipelines.progress import note
from mas_ray.shards.location import Location, RemotePath, upload
from mas_ray.shards.transfer import Version, at_once, fetch, list_tree, version_of
from mas_ray.shards.write import write_text

_EVERY_S = 5.0
_RECORDS = {"FORMAT": 1, "commit.json": 1, "initial.json": 2, "stage.json": 2, "cascade.json": 3, "finished.json": 3}
"""Files that speak of others, and of each other: the higher, the later."""
_STORE_ERRORS = (OSError, pa.ArrowException)
_log = logging.getLogger(__name__)


class _Local(NamedTuple):
    """A file of the copy: another content has another size or time."""

    size: int
    mtime_ns: int


class KeptFolder:
    """A folder as the driver sees it. Without a store it is its own record, and nothing is to be done.

    Args:
        path: On this machine's disk.
        store: Where the record is.
        apart: Names directly below the folder that are in the store alone.
        removes: Whether a push removes there what is gone here.
    """

    def __init__(
        self, path: Path, store: RemotePath | None = None, *, apart: Iterable[str] = (), removes: bool = False
    ) -> None:
        self.path = path
        self.store = store
        self._removes = removes
        self._apart = frozenset(apart) | {LEASE}
        self._lock = threading.Lock()
        self._pulled = False
        self._known = _read_known(path) if store is not None else {}

    def address(self, path: Path) -> str:
        """Where every machine finds a file or folder of this one."""
        return str(path if self.store is None else self.store / path.relative_to(self.path).as_posix())

    def pull(self, wanted: Callable[[str], bool] = lambda name: True) -> None:
        """Make the copy what the store has, as far as names are wanted; raises ``OSError`` where the store fails."""
        if self.store is None:
            return
        store = self.store
        with self._lock:
            there = {
                name: version
                for name, version in list_tree(store).items()
                if name.split("/")[0] not in self._apart and wanted(name)
            }
            here = {name: found for name, found in self._files().items() if wanted(name)}
            for name in here.keys() - there.keys():
                self._forget_local(name)
            self._known = {name: seen for name, seen in self._known.items() if name in there or not wanted(name)}
            stale = [
                name
                for name, version in there.items()
                if version.mtime_ns is None or self._known.get(name) != (here.get(name), version)
            ]
            at_once(lambda name: fetch(store / name, self.path / name), stale)
            for name in stale:
                self._known[name] = (_look(self.path / name), there[name])
            _write_known(self.path, self._known)
            self._pulled = True

    def push(self) -> None:
        """Bring the store what the copy has gained; raises ``OSError`` where it fails.

        A copy that was not pulled yet, or was deleted, says nothing.
        """
        if self.store is None:
            return
        with self._lock:
            here = self._files()
            if not self._pulled or not _memory(self.path).is_file():
                return
            gone = {name for name in self._known if name not in here} if self._removes else set[str]()
            changed = {name for name, found in here.items() if name not in self._known or self._known[name][0] != found}
            if not gone and not changed:
                return
            try:
                self._remove_there(gone)
                for names in _by_rank(changed):
                    at_once(lambda name: self._put(name, here[name]), names)
            finally:
                _write_known(self.path, self._known)

    def remove(self, folder: Path) -> None:
        """Remove a folder below this one here and in the store, whoever has written there."""
        if self.store is None:
            shutil.rmtree(folder, ignore_errors=True)
            return
        name = folder.relative_to(self.path).as_posix()
        with self._lock:
            shutil.rmtree(folder, ignore_errors=True)
            self._remove_there(f"{name}/{file}" for file in list_tree(self.store / name))

    def _files(self) -> dict[str, _Local]:
        """The files of the copy that belong to the record.

        Folders are looked at before what lies in them, so that whatever a record speaks of is found if the record is:
        it was there before it, and lies beside it or deeper.
        """
        found: dict[str, _Local] = {}

        def fail(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):  # what cannot be read is not gone
                raise error

        for folder, folders, files in os.walk(self.path, onerror=fail):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                path = Path(folder) / name
                if not name.startswith(".") and ".partial-" not in name:
                    with suppress(FileNotFoundError):
                        found[path.relative_to(self.path).as_posix()] = _look(path)
        return found

    def _put(self, name: str, found: _Local) -> None:
        assert self.store is not None
        target = self.store / name
        try:
            upload(self.path / name, target)
        except FileNotFoundError:
            if (self.path / name).exists():
                raise
            return  # it went while it was looked at
        self._known[name] = (found, version_of(target))

    def _remove_there(self, names: Iterable[str]) -> None:
        store = self.store
        assert store is not None

        def unlink(name: str) -> None:
            with suppress(FileNotFoundError):
                (store / name).unlink()
            self._known.pop(name, None)

        for of_rank in reversed(_by_rank(names)):
            at_once(unlink, of_rank)

    def _forget_local(self, name: str) -> None:
        path = self.path / name
        path.unlink(missing_ok=True)
        for folder in path.parents[: len(Path(name).parts) - 1]:
            with suppress(OSError):  # others lie there
                folder.rmdir()


@contextmanager
def kept_folder(place: Location, *, apart: Iterable[str] = (), removes: bool = False) -> Generator[KeptFolder]:
    """A folder to work in while the block runs: of a disk, or a copy of one in a store.

    A copy is this process's alone, by a lease in the store; it is pulled at the start and pushed at the end, whatever
    ends the block. If the lease is lost, the block is interrupted as by Ctrl-C.

    Args:
        place: The folder, there or not.
        apart: Names directly below it that only others read and write, in the store.
        removes: Whether a push removes in the store what is gone from the copy. Then nothing is pushed before the end
            but when it is asked for; otherwise a thread pushes now and then, and only ``remove`` removes.

    Raises:
        BusyError: Another driver works there, or came to.
        OSError: The store fails at the start or the end.
    """
    if isinstance(place, Path):
        yield KeptFolder(place.absolute())
        return
    home = default_cache() / "stores" / hashlib.sha256(str(place).encode()).hexdigest()[:24]
    copy = home / place.name
    copy.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{place}: another process of this machine works here") from None
        kept = KeptFolder(copy, place, apart=apart, removes=removes)
        keeper = _Keeper(kept, Lease(place, _holder(home)), push=not removes)
        with keeper.holding():
            kept.pull()
            yield kept


class _Keeper:
    """Holds the lease of a folder and pushes it, in a thread."""

    def __init__(self, kept: KeptFolder, lease: Lease, *, push: bool) -> None:
        self._kept = kept
        self._lease = lease
        self._push = push
        self._closing = threading.Event()
        self._lost: BusyError | None = None
        self._interrupts = threading.current_thread() is threading.main_thread()

    @contextmanager
    def holding(self) -> Generator[None]:
        """While the block runs; its end pushes."""
        self._lease.take()
        thread = threading.Thread(target=self._follow, name="keep-folder", daemon=True)
        thread.start()
        try:
            yield
        except BaseException as error:
            self._stop(thread)
            try:
                self._finish()
            except _STORE_ERRORS as failure:
                note(f"the store has not taken everything: {_first_line(failure)}")
            if self._lost is not None and isinstance(error, KeyboardInterrupt):
                raise self._lost from None
            raise
        self._stop(thread)
        self._finish()
        if self._lost is not None:
            raise self._lost

    def _stop(self, thread: threading.Thread) -> None:
        self._closing.set()
        thread.join()

    def _finish(self) -> None:
        if self._lost is None:
            try:
                self._kept.push()
            finally:
                self._lease.release()

    def _follow(self) -> None:
        failing = False
        while not self._closing.wait(_EVERY_S):
            try:
                self._lease.renew()
                if self._push:
                    self._kept.push()
                failing = False
            except BusyError as error:
                self._lost = error
                if self._interrupts:
                    _interrupt_main_thread()
                return
            except _STORE_ERRORS as error:
                if not failing:
                    _log.warning("the store does not take the run for now: %s", _first_line(error))
                failing = True


def _interrupt_main_thread() -> None:
    """As Ctrl-C does; a shell's background process ignores that, and verbs take SIGTERM for it."""
    number = signal.SIGINT if callable(signal.getsignal(signal.SIGINT)) else signal.SIGTERM
    signal.pthread_kill(threading.main_thread().ident or 0, number)


def _holder(home: Path) -> str:
    """What a copy is known by: drawn once, so that one made anew is another."""
    path = home / "holder"
    if not path.is_file():
        write_text(path, uuid.uuid4().hex[:16])
    return path.read_text(encoding="utf-8")


def _by_rank(names: Iterable[str]) -> list[list[str]]:
    """Names in the order in which they are to be there: what is spoken of first."""
    ranked: dict[int, list[str]] = {}
    for name in sorted(names):
        ranked.setdefault(_RECORDS.get(name.rpartition("/")[2], 0), []).append(name)
    return [ranked[rank] for rank in sorted(ranked)]


def _look(path: Path) -> _Local:
    found = path.stat()
    return _Local(found.st_size, found.st_mtime_ns)


def _memory(copy: Path) -> Path:
    return copy.parent / "known.json"


def _read_known(copy: Path) -> dict[str, tuple[_Local, Version]]:
    """Which of its files a copy has from the store or has brought there, as they are here and there."""
    try:
        lines = json.loads(_memory(copy).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {name: (_Local(*here), Version(*there)) for name, (here, there) in lines.items()}


def _write_known(copy: Path, known: dict[str, tuple[_Local, Version]]) -> None:
    write_text(_memory(copy), json.dumps(known))


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
