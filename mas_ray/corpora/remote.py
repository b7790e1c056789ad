"""A corpus in an object store: a prefix of any ``pyarrow`` filesystem, listed in one pass, fetched take by take.

Paths of its takes' files are paths within the filesystem; ``fetched`` gives the same take with local ones.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

import pyarrow.fs as pafs

from mas_ray.corpora import layout
from mas_ray.corpora.layout import BadSourceError, Entry, RejectedSource
from mas_ray.corpora.names import printable, take_id
from mas_ray.corpora.take import Clip, Take

_BLOCK_BYTES = 1 << 22
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,8}")


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Everything below a prefix, as the store listed it once.

    Not for ``file://``: ``folder.sources`` lists local folders, and sees their links and pipes.
    """

    filesystem: pafs.FileSystem
    prefix: str
    infos: tuple[pafs.FileInfo, ...]

    @classmethod
    def of(cls, filesystem: pafs.FileSystem, prefix: str) -> Listing:
        """Ask the store; ``ValueError`` if there is no such prefix."""
        prefix = prefix.rstrip("/")
        try:
            infos = filesystem.get_file_info(pafs.FileSelector(prefix, recursive=True))
        except FileNotFoundError:
            raise ValueError(f"{prefix}: no such folder; expected a folder of takes") from None
        return cls(filesystem=filesystem, prefix=prefix, infos=tuple(infos))

    def sources(self) -> Iterator[Take | RejectedSource]:
        """The takes below the prefix in the order of their ids, and in their places what was rejected.

        Raises:
            ValueError: The prefix is itself a take, or it holds none.
        """
        folders = _folders(self.infos, self.prefix)
        try:
            return layout.sources(_Prefix(filesystem=self.filesystem, prefix=self.prefix, folders=folders))
        except ValueError as error:
            raise ValueError(f"{self.prefix}: {error}") from None

    def version(self, path: str) -> str:
        """What the store says of a file, or of all files in a folder: another content has another version."""
        return _version(self._files.get(path, []))

    @cached_property
    def _files(self) -> dict[str, list[pafs.FileInfo]]:
        """The files of each folder, and each file by itself."""
        files: defaultdict[str, list[pafs.FileInfo]] = defaultdict(list)
        for info in self.infos:
            if info.type == pafs.FileType.File:
                files[info.path].append(info)
                files[info.path.rpartition("/")[0]].append(info)
        return dict(files)


def current_version(filesystem: pafs.FileSystem, path: str) -> str:
    """``Listing.version`` as it is now."""
    found = filesystem.get_file_info(path)
    if found.type == pafs.FileType.Directory:
        infos = filesystem.get_file_info(pafs.FileSelector(path))
        return _version([info for info in infos if info.type == pafs.FileType.File])
    return _version([found])


def _version(infos: Iterable[pafs.FileInfo]) -> str:
    return repr(sorted((info.base_name, info.size, info.mtime_ns) for info in infos))


@contextmanager
def fetched_file(filesystem: pafs.FileSystem, path: str) -> Generator[Path, None, None]:
    """A file that is local within the context; raises like ``fetched``."""
    with tempfile.TemporaryDirectory(prefix="mas-ray-") as folder:
        yield Path(_fetched_file(filesystem, path, Path(folder)))


@contextmanager
def fetched(filesystem: pafs.FileSystem, take: Take, scratch: Path) -> Generator[Take, None, None]:
    """A take whose files are local, in a folder of its own in ``scratch`` that is removed with the context.

    Raises:
        BadSourceError: A file is gone (``unreadable_file``) or has another size than the store says
            (``changed_while_read``).
    """
    with tempfile.TemporaryDirectory(prefix="fetched.partial-", dir=scratch) as name:
        folder = Path(name)
        clips = tuple(_fetched_clip(filesystem, clip, folder / str(i)) for i, clip in enumerate(take.clips))
        reference = _fetched_file(filesystem, take.reference, folder) if take.reference is not None else None
        yield replace(take, clips=clips, reference=reference)


@dataclass(frozen=True, kw_only=True)
class _Prefix:
    """Everything below a prefix, by folder."""

    filesystem: pafs.FileSystem
    prefix: str
    folders: dict[str, dict[str, Entry]]

    def entries(self, folder: str) -> list[Entry]:
        return list(self.folders.get(folder, {}).values())

    def address(self, name: str) -> str:
        return f"{self.prefix}/{name}"

    def local_file(self, name: str) -> AbstractContextManager[Path]:
        return fetched_file(self.filesystem, self.address(name))


def _folders(infos: Iterable[pafs.FileInfo], prefix: str) -> dict[str, dict[str, Entry]]:
    """What each folder holds; object stores have no folders but those that names imply."""
    folders: defaultdict[str, dict[str, Entry]] = defaultdict(dict)
    for info in infos:
        path, is_folder = info.path[len(prefix) :].lstrip("/"), info.type == pafs.FileType.Directory
        while path:
            folder, _, name = path.rpartition("/")
            known = folders[folder].get(name)
            if known is None or (is_folder and not known.is_folder):  # stores may have both x and x/y
                folders[folder][name] = Entry(name=name, is_folder=is_folder)
            path, is_folder = folder, True
    return folders


def _fetched_clip(filesystem: pafs.FileSystem, clip: Clip, folder: Path) -> Clip:
    def fetch(path: str | None, part: str) -> str | None:
        return None if path is None else _fetched_file(filesystem, path, folder / part)

    masks = clip.masks
    if masks is not None and filesystem.get_file_info(masks).type == pafs.FileType.Directory:
        for info in filesystem.get_file_info(pafs.FileSelector(masks)):
            if info.type == pafs.FileType.File:
                _fetched_file(filesystem, info.path, folder / "masks")
        masks = str(folder / "masks")
    else:
        masks = fetch(masks, "masks")
    video = _fetched_file(filesystem, clip.video, folder / "videos")
    return replace(clip, video=video, masks=masks, background=fetch(clip.background, "backgrounds"))


def _fetched_file(filesystem: pafs.FileSystem, path: str, folder: Path) -> str:
    """Copy a file into a folder. Its name there is its own where that is safe, and never leads elsewhere.

    What it ends in stays: that says what kind of file it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    local, ending = folder / take_id(path.rpartition("/")[2]), PurePosixPath(path).suffix
    if local.suffix != ending and _ENDING.fullmatch(ending):
        local = local.with_name(local.name + ending)
    try:
        size = filesystem.get_file_info(path).size
        with filesystem.open_input_stream(path) as source, local.open("wb") as target:
            shutil.copyfileobj(source, target, _BLOCK_BYTES)
    except FileNotFoundError:
        raise BadSourceError("unreadable_file", f"{printable(path)}: no longer there") from None
    if local.stat().st_size != size:
        raise BadSourceError(
            "changed_while_read", f"{printable(path)}: {local.stat().st_size} bytes came, expected {size}"
        )
    return str(local)
