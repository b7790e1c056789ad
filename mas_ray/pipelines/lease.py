"""Who works in a folder of a store: one driver at a time, wherever it runs.

A lease is a small file that its holder writes anew every few seconds. It keeps drivers apart that can be seen to live,
and no further: stores have no locks. Hosts whose clocks differ by more than ``LEASE_S`` do not see each other; a driver
that hangs for longer loses its folder, and may write to it once more before it finds out.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass

from mas_ray.config import codec
from mas_ray.shards.location import RemotePath
from mas_ray.shards.write import write_text

LEASE = "lease.json"
LEASE_S = 30.0
"""A lease that was not renewed for so long is nobody's."""
_SETTLE_S = 1.0


class BusyError(ValueError):
    """Another process works in the folder."""


@dataclass(frozen=True, kw_only=True)
class LeaseRecord:
    """The content of a lease."""

    holder: str
    """Of the copy that its driver works on: a driver that goes on in the same copy is the same holder."""
    host: str
    process: int
    since_s: float
    """Seconds since 1970, by the holder's clock."""
    renewed_s: float
    """Likewise."""


class Lease:
    """The lease of a folder in a store, for one holder."""

    def __init__(self, folder: RemotePath, holder: str) -> None:
        self._folder = folder
        self._holder = holder
        self._since_s = time.time()

    def take(self) -> None:
        """Become its holder; ``BusyError`` if another one is alive."""
        found = read_lease(self._folder)
        if found is not None and found.holder != self._holder and _is_alive(found):
            raise BusyError(_complaint(self._folder, found))
        self._write()
        if found is None or found.holder != self._holder:
            time.sleep(_SETTLE_S)  # of two that take it in the same moment, the later one's stays
            self.renew()

    def renew(self) -> None:
        """Say that its holder is alive; ``BusyError`` if it is another's by now, or gone with the folder."""
        found = read_lease(self._folder)
        if found is None:
            raise BusyError(f"{self._folder}: its {LEASE} is gone; was the folder deleted?")
        if found.holder != self._holder:
            raise BusyError(_complaint(self._folder, found))
        self._write()

    def release(self) -> None:
        """Let the next one have it at once."""
        found = read_lease(self._folder)
        if found is not None and found.holder == self._holder:
            (self._folder / LEASE).unlink()

    def _write(self) -> None:
        record = LeaseRecord(
            holder=self._holder,
            host=socket.gethostname(),
            process=os.getpid(),
            since_s=self._since_s,
            renewed_s=time.time(),
        )
        write_text(self._folder / LEASE, codec.dumps(record))


def read_lease(folder: RemotePath) -> LeaseRecord | None:
    """The lease of a folder, whoever holds it and however old it is."""
    try:
        text = (folder / LEASE).read_text()
    except FileNotFoundError:
        return None
    return codec.loads(LeaseRecord, text, str(folder / LEASE))


def is_held(folder: RemotePath) -> bool:
    """Whether a driver that is alive works in the folder."""
    found = read_lease(folder)
    return found is not None and _is_alive(found)


def _is_alive(record: LeaseRecord) -> bool:
    return time.time() - record.renewed_s < LEASE_S


def _complaint(folder: RemotePath, record: LeaseRecord) -> str:
    return (
        f"{folder}: process {record.process} on {record.host} works here since {_clock(record.since_s)}, last heard of "
        f"at {_clock(record.renewed_s)}; one that is silent for {LEASE_S:.0f} s may be followed"
    )


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))
