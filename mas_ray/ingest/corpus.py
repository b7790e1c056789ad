"""What ingest asks of a corpus: its takes, what they are made of, and whether that is still so afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import pyarrow.fs as pafs

from mas_ray.config.ingest import CorpusKind
from mas_ray.corpora import official, remote
from mas_ray.corpora.layout import RejectedSource
from mas_ray.corpora.take import Take
from mas_ray.ingest import commit
from mas_ray.ingest.fingerprint import ChangedWhileReadError, Fingerprints
from mas_ray.ingest.rejects import BadTakeError
from mas_ray.shards.location import Location


class Identity(NamedTuple):
    """What a take is made of, and what exact copies of it share (``commit.take_content``, ``commit.take_footage``)."""

    content: str
    footage: str


@runtime_checkable
class Corpus(Protocol):
    """A corpus, wherever it is stored."""

    @property
    def filesystem(self) -> pafs.FileSystem | None:
        """Where the files of its takes are; None: on disks that every machine sees."""
        ...

    def sources(self) -> Iterator[Take | RejectedSource]:
        """Its takes in the order of their ids, and in their places what was rejected."""
        ...

    def identities(self, takes: Iterable[Take]) -> Iterator[Identity | BadTakeError]:
        """What each take is made of, or why nobody can tell."""
        ...

    def change(self, take: Take) -> BadTakeError | None:
        """Whether a take that was ingested meanwhile is no longer what ``identities`` saw."""
        ...

    def local_file(self, address: str) -> AbstractContextManager[Path]:
        """A file of a take, to be read within the context."""
        ...


def open_corpus(root: Location, kind: CorpusKind, fingerprints: Fingerprints) -> Corpus:
    """The corpus in a folder or in an object store; ``ValueError`` if there is none."""
    if isinstance(root, Path):
        return _CorpusOnDisk(root=root.absolute(), kind=kind, fingerprints=fingerprints)
    if kind != "folder":
        raise ValueError(f"root: {root}: an official release is read from a disk; expected a folder")
    return _CorpusInStore(listing=remote.Listing.of(root.filesystem, root.path))


@dataclass(frozen=True, kw_only=True)
class _CorpusOnDisk:
    """Takes are what the bytes of their files are."""

    root: Path
    kind: CorpusKind
    fingerprints: Fingerprints
    filesystem: None = None

    def sources(self) -> Iterator[Take | RejectedSource]:
        return official.sources(self.kind, self.root)

    def identities(self, takes: Iterable[Take]) -> Iterator[Identity | BadTakeError]:
        takes = list(takes)
        known = self.fingerprints.learn(file for take in takes for file in commit.take_files(take))

        def sha256(path: Path) -> str:
            return known.get(str(path)) or self.fingerprints.sha256(path)  # which says what is wrong with it

        for take in takes:
            try:
                yield Identity(commit.take_content(take, sha256), commit.take_footage(take, sha256))
            except BadTakeError as error:
                yield error

    def change(self, take: Take) -> BadTakeError | None:
        changed = (file for file in commit.take_files(take) if not self.fingerprints.is_unchanged(file))
        return next((ChangedWhileReadError(file) for file in changed), None)

    def local_file(self, address: str) -> AbstractContextManager[Path]:
        return nullcontext(Path(address))


@dataclass(frozen=True, kw_only=True)
class _CorpusInStore:
    """Takes are what the store says of their files, which are read once, by the worker that ingests them.

    So an exact copy under another name is not seen before it is ingested; it is a near copy then.
    """

    listing: remote.Listing

    @property
    def filesystem(self) -> pafs.FileSystem:
        return self.listing.filesystem

    def sources(self) -> Iterator[Take | RejectedSource]:
        return self.listing.sources()

    def identities(self, takes: Iterable[Take]) -> Iterator[Identity | BadTakeError]:
        for take in takes:
            content = commit.take_content_in_store(take, self.listing.version)
            yield Identity(content, content)

    def change(self, take: Take) -> BadTakeError | None:
        return None  # the worker has compared

    def local_file(self, address: str) -> AbstractContextManager[Path]:
        return remote.fetched_file(self.filesystem, address)
