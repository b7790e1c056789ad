"""One process at a time writes a dataset folder."""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(output: Path) -> Generator[None, None, None]:
    """Hold a dataset folder, made if need be, against other writers; the lock ends with the process at the latest.

    Raises:
        ValueError: Another process holds it.
    """
    (output / "work").mkdir(parents=True, exist_ok=True)
    with (output / "work" / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"output: another ingest is writing {output}") from None
        yield
