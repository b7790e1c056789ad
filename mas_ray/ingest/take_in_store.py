"""A take that is made on a worker's own disk, and whose folder of the work tree is in a store.

What the store has of it is fetched; the journal goes there before the attempt, so that one that kills its process is
counted; part, samples and record go there after it, the record last.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from mas_ray.ingest import commit
from mas_ray.shards.location import RemotePath, upload
from mas_ray.shards.transfer import fetch_tree


@contextmanager
def take_in_store(store: RemotePath) -> Generator[tuple[Path, Callable[[], None]]]:
    """A folder of this machine's disk to make a take in, and what to call once the attempt stands in its journal.

    Args:
        store: The take's folder of the work tree.

    Raises:
        OSError: The store does not give or take a file.
    """
    with tempfile.TemporaryDirectory(prefix="mas-ray-take-") as scratch:
        folder = Path(scratch) / store.name
        folder.mkdir()
        fetch_tree(store, folder)
        begun = False

        def begin() -> None:
            nonlocal begun
            begun = True
            _bring_journal(folder, store)

        try:
            yield folder, begin
            if begun:
                for file in (commit.part_path(folder), commit.samples_path(folder), commit.record_path(folder)):
                    upload(file, store / file.name)
        finally:
            if begun:
                _bring_journal(folder, store)


def _bring_journal(folder: Path, store: RemotePath) -> None:
    journal = commit.journal_path(folder)
    if journal.is_file():
        upload(journal, store / journal.name)
    else:
        with suppress(FileNotFoundError):
            (store / journal.name).unlink()
