"""How a corpus is laid out, wherever it is stored: names become takes, or sources rejected with a reason.

::

    <take>/videos/<camera>.mp4           or another of ``VIDEO_SUFFIXES``
           calibration/<any>.toml|json   optional; see ``calibration_files``; or <camera>.yml of each, as OpenCV writes
           take.json                     optional: {"subject": ..., "action": ...}
           masks/<camera>.mp4            optional; or masks/<camera>/<frame:06d>.png, or Human3.6M's <camera>.mat
           backgrounds/<camera>.png      optional: the empty scene
           reference.parquet             optional; see ``annotations``
    <video>.mp4                          a take of its own: one view, no calibration

Both may lie in folders of any depth. A camera's name is the same in every place. Names that begin with a dot do not
count. Nothing is decoded here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from mas_ray.config import codec
from mas_ray.corpora import calibration_files, opencv_calibration
from mas_ray.corpora.names import escaped, printable, take_ids
from mas_ray.corpora.take import Calibration, Clip, Take

VIDEO_SUFFIXES = (".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")

_PARTS_OF_A_TAKE = frozenset({"backgrounds", "calibration", "masks", "reference.parquet", "take.json"})


@dataclass(frozen=True, kw_only=True)
class RejectedSource:
    """What looks like a take and cannot be one. Its id is what the take's would be.

    ``reason`` is one word to count by: ``unsafe_link`` (leads out of the corpus, in a circle, or to a folder),
    ``unreadable_file`` (not a regular file, or not ours to read), ``unsafe_name`` (of a view), ``bad_layout``,
    ``bad_calibration`` or ``bad_description``. ``detail`` is a line that names the place within the corpus.
    """

    take_id: str
    reason: str
    detail: str


class BadSourceError(ValueError):
    """One source cannot be used; the others can."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A name in a folder of a corpus; ``fault`` says why what it names must not be opened."""

    name: str
    is_folder: bool
    is_link: bool = False
    fault: BadSourceError | None = None


@runtime_checkable
class Store(Protocol):
    """Where a corpus is stored. Files and folders are named by their path within it, parts joined by ``/``."""

    def entries(self, folder: str) -> list[Entry]:
        """What a folder holds, in any order; the corpus itself is ``""``.

        Raises:
            BadSourceError: The folder cannot be listed.
        """
        ...

    def address(self, name: str) -> str:
        """What a clip says of where its file is."""
        ...

    def local_file(self, name: str) -> AbstractContextManager[Path]:
        """A small file, to be read within the context.

        Raises:
            BadSourceError: It cannot be read.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class TakeDescription:
    """The content of ``take.json``. What it leaves out is the take's name."""

    subject: str | None = None
    action: str | None = None


def sources(store: Store) -> Iterator[Take | RejectedSource]:
    """All takes of a corpus in the order of their ids, and in their places what was rejected.

    The names are listed at once; a take's files are looked at when the iteration reaches it.

    Raises:
        ValueError: The corpus is itself a take, or holds none.
    """
    found = list(_walk(store))
    if not found:
        raise ValueError("no takes; expected <take>/videos/<camera>.mp4 or <video>.mp4")
    ids = take_ids([name for name, _ in found])
    in_order = sorted((take_id, *source) for take_id, source in zip(ids, found, strict=True))
    return (_source(store, take_id, name, read) for take_id, name, read in in_order)


_Read = Callable[[Store, str, str], Take]


def _walk(store: Store) -> Iterator[tuple[str, _Read]]:
    """Every source by its name, and the function that makes it a take, or raises why it is none."""
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = {entry.name: entry for entry in store.entries(folder) if not entry.name.startswith(".")}
        except BadSourceError as error:
            if not folder:
                raise
            yield folder, _rejection(error)
            continue
        if "videos" in entries and entries["videos"].is_folder:
            if not folder:
                raise ValueError("this is a take (it holds videos); expected the folder of takes above it")
            yield folder, _take
            continue
        if folder and not _PARTS_OF_A_TAKE.isdisjoint(entries):
            yield folder, _rejection(BadSourceError("bad_layout", f"{printable(folder)}/videos: expected a folder"))
            continue
        for entry in entries.values():
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.fault is not None and (entry.is_folder or is_video(name) or "." not in entry.name):
                yield name, _rejection(entry.fault)
            elif entry.is_folder and entry.is_link:  # what it holds is listed where it is, or was rejected there
                yield name, _rejection(BadSourceError("unsafe_link", f"{printable(name)}: a link to a folder"))
            elif entry.is_folder:
                folders.append(name)
            elif is_video(name):
                yield name, _single_video
        if is_video(folder) and not any(entry.is_folder or is_video(entry.name) for entry in entries.values()):
            yield folder, _rejection(BadSourceError("bad_layout", f"{printable(folder)}: a folder, expected a video"))


def _rejection(error: BadSourceError) -> _Read:
    def read(store: Store, take_id: str, name: str) -> Take:
        raise error

    return read


def _source(store: Store, take_id: str, name: str, read: _Read) -> Take | RejectedSource:
    try:
        return read(store, take_id, name)
    except BadSourceError as error:
        return RejectedSource(take_id=take_id, reason=error.reason, detail=escaped(" ".join(str(error).split())))


def _single_video(store: Store, take_id: str, name: str) -> Take:
    stem = os.path.splitext(name)[0]  # noqa: PTH122 - a hundred thousand times
    view = re.sub(r"[^\w.-]+", "_", printable(stem.rpartition("/")[2]))[:64]
    clip = Clip(view=view, video=store.address(name))
    return Take(take_id=take_id, subject=printable(stem), action=printable(stem), clips=(clip,))


def _take(store: Store, take_id: str, name: str) -> Take:
    entries = {entry.name: entry for entry in store.entries(name)}
    for part in sorted({"videos"} | _PARTS_OF_A_TAKE & entries.keys()):
        entry = entries[part]
        if entry.fault is not None:
            raise entry.fault
        if entry.is_folder != ("." not in part):
            expected = "file" if entry.is_folder else "folder"
            raise BadSourceError("bad_layout", f"{printable(name)}/{part}: expected a {expected}")
    videos = _of_cameras(store, f"{name}/videos", lambda entry: not entry.is_folder and is_video(entry.name))
    if not videos:
        expected = f"<camera>{'|'.join(VIDEO_SUFFIXES)}"
        raise BadSourceError("bad_layout", f"{printable(name)}/videos: no videos; expected {expected}")
    calibrations = _calibrations(store, f"{name}/calibration", videos) if "calibration" in entries else {}
    masks = _beside(store, f"{name}/masks", videos, _is_masks) if "masks" in entries else {}
    backgrounds = _beside(store, f"{name}/backgrounds", videos, _is_picture) if "backgrounds" in entries else {}
    description = _description(store, f"{name}/take.json") if "take.json" in entries else TakeDescription()
    return Take(
        take_id=take_id,
        subject=description.subject or printable(name),
        action=description.action or printable(name),
        clips=tuple(
            Clip(
                view=view,
                video=store.address(video),
                calibration=calibrations.get(view),
                masks=store.address(masks[view]) if view in masks else None,
                background=store.address(backgrounds[view]) if view in backgrounds else None,
            )
            for view, video in videos.items()
        ),
        reference=store.address(f"{name}/reference.parquet") if "reference.parquet" in entries else None,
    )


def is_video(name: str) -> bool:
    """Whether a file's name is that of a video."""
    return name.lower().endswith(VIDEO_SUFFIXES)


def _is_masks(entry: Entry) -> bool:
    return entry.is_folder or is_video(entry.name) or entry.name.lower().endswith(".mat")


def _is_picture(entry: Entry) -> bool:
    return not entry.is_folder and entry.name.lower().endswith(".png")


def _calibrations(store: Store, folder: str, videos: dict[str, str]) -> dict[str, Calibration]:
    """The cameras of a take, which must be those of its videos."""
    entries = [entry for entry in _visible(store, folder) if not entry.is_folder]
    single = [entry for entry in entries if entry.name.endswith(opencv_calibration.SUFFIXES)]
    of_all = [entry for entry in entries if entry.name.endswith(calibration_files.SUFFIXES)]
    if len(of_all) + bool(single) != 1:
        found = ", ".join(printable(entry.name) for entry in [*of_all, *single]) or "none"
        raise BadSourceError(
            "bad_layout",
            f"{printable(folder)}: expected one {' or '.join(calibration_files.SUFFIXES)} file, or "
            f"{' or '.join(opencv_calibration.SUFFIXES)} files of one camera each, found {found}",
        )
    for entry in [*of_all, *single]:
        if entry.fault is not None:
            raise entry.fault
    if single:
        name = folder
        cameras = {
            Path(entry.name).stem: _read(store, f"{folder}/{entry.name}", opencv_calibration.read_opencv_calibration)
            for entry in single
        }
    else:
        name = f"{folder}/{of_all[0].name}"
        cameras = _read(store, name, calibration_files.read_calibrations)
    for view, video in videos.items():
        if view not in cameras:
            known = ", ".join(cameras)
            raise BadSourceError(
                "bad_calibration", f"{printable(video)}: camera {view!r} is not in {printable(name)}; it has {known}"
            )
    for camera in cameras:
        if camera not in videos:
            raise BadSourceError("bad_calibration", f"{printable(name)}: camera {camera!r} has no video")
    return cameras


_T = TypeVar("_T")


def _read(store: Store, name: str, read: Callable[[Path], _T]) -> _T:
    with store.local_file(name) as path:
        try:
            return read(path)
        except (ValueError, RecursionError) as error:
            raise BadSourceError("bad_calibration", str(error).replace(str(path), printable(name))) from None


def _description(store: Store, name: str) -> TakeDescription:
    where = printable(name)
    try:
        with store.local_file(name) as path:
            return codec.loads(TakeDescription, path.read_text(encoding="utf-8"), where)
    except (UnicodeDecodeError, RecursionError):
        raise BadSourceError("bad_description", f"{where}: not valid JSON") from None
    except BadSourceError:
        raise
    except ValueError as error:
        raise BadSourceError("bad_description", str(error)) from None


def _beside(store: Store, folder: str, videos: dict[str, str], accepts: Callable[[Entry], bool]) -> dict[str, str]:
    """Name per view of what an optional folder holds for the views."""
    names = _of_cameras(store, folder, accepts)
    for view, name in names.items():
        if view not in videos:
            known = ", ".join(videos)
            raise BadSourceError(
                "bad_layout", f"{printable(name)}: there is no video of a camera {view!r}; there are {known}"
            )
    return names


def _of_cameras(store: Store, folder: str, accepts: Callable[[Entry], bool]) -> dict[str, str]:
    """Names by camera, in the order of the cameras."""
    named: dict[str, str] = {}
    for entry in filter(accepts, _visible(store, folder)):
        name = f"{folder}/{entry.name}"
        camera = entry.name if entry.is_folder else Path(entry.name).stem
        faults = [entry.fault, *(inner.fault for inner in (store.entries(name) if entry.is_folder else ()))]
        for fault in filter(None, faults):
            raise fault
        if not camera.isprintable():
            raise BadSourceError("unsafe_name", f"{printable(name)}: expected a camera's name of printable characters")
        if camera in named:
            other = named[camera].rpartition("/")[2]
            raise BadSourceError(
                "bad_layout",
                f"{printable(folder)}: {other} and {entry.name} are both of camera {camera!r}; expected one",
            )
        named[camera] = name
    return dict(sorted(named.items()))


def _visible(store: Store, folder: str) -> list[Entry]:
    entries = (entry for entry in store.entries(folder) if not entry.name.startswith("."))
    return sorted(entries, key=lambda entry: entry.name)
