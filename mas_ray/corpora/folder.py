"""The plain corpus: a folder of takes, or of single videos. Nothing is decoded here.

::

    <root>/<take>/videos/<camera>.mp4          .avi .mov .mkv .webm as well
                  calibration/<any>.toml|json  optional; see ``calibration_files``
                  take.json                    optional: {"subject": ..., "action": ...}
                  masks/<camera>.mp4           optional; or masks/<camera>/<frame:06d>.png
                  backgrounds/<camera>.png     optional: the empty scene
                  reference.parquet            optional; see ``annotations``
    <root>/<video>.mp4                         a take of its own: one view, no calibration

A camera's name is the same in every place. Names that begin with a dot do not count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mas_ray.config import codec
from mas_ray.corpora import calibration_files
from mas_ray.corpora.take import Calibration, Clip, Take

_VIDEO_SUFFIXES = (".avi", ".mkv", ".mov", ".mp4", ".webm")


@dataclass(frozen=True, kw_only=True)
class TakeDescription:
    """The content of ``take.json``. What it leaves out is the take's folder name."""

    subject: str | None = None
    action: str | None = None


def takes(root: Path) -> Iterator[Take]:
    """The takes below ``root``, in the order of their ids.

    A take's files are looked at when the iteration reaches it.

    Raises:
        ValueError: The folder or a take is not laid out as above; the message names the file and what was expected.
    """
    sources = _sources(root)
    return (_single_video(take_id, path) if path.is_file() else _take(take_id, path) for take_id, path in sources)


def _sources(root: Path) -> list[tuple[str, Path]]:
    """Id and path of every take: its folder, or its only video."""
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; expected a folder of takes")
    if (root / "videos").is_dir():
        raise ValueError(f"{root}: this is a take (it holds videos); expected the folder of takes above it")
    paths = [path for path in _visible(root) if path.is_dir() or _is_video(path)]
    if not paths:
        raise ValueError(f"{root}: no takes; expected <take>/videos/<camera>.mp4 or <video>.mp4")
    found: dict[str, Path] = {}
    for path in paths:
        take_id = _take_id(path.name if path.is_dir() else path.stem)
        if take_id in found:
            raise ValueError(f"{path}: gives the same take id {take_id!r} as {found[take_id].name}; rename one")
        found[take_id] = path
    return sorted(found.items())


def _take_id(name: str) -> str:
    """The name with whatever is not safe in a file name on any system replaced by underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)


def _single_video(take_id: str, video: Path) -> Take:
    clip = Clip(view=video.stem, video=str(video))
    return Take(take_id=take_id, subject=video.stem, action=video.stem, clips=(clip,))


def _take(take_id: str, folder: Path) -> Take:
    videos = _by_name(folder / "videos", filter(_is_video, _visible(folder / "videos")))
    if not videos:
        raise ValueError(f"{folder / 'videos'}: no videos; expected <camera>{'|'.join(_VIDEO_SUFFIXES)}")
    calibrations = _calibrations(folder, videos)
    masks = _beside(folder / "masks", videos, lambda path: path.is_dir() or _is_video(path))
    backgrounds = _beside(folder / "backgrounds", videos, lambda path: path.suffix.lower() == ".png")
    description = _description(folder / "take.json")
    reference = folder / "reference.parquet"
    return Take(
        take_id=take_id,
        subject=description.subject or folder.name,
        action=description.action or folder.name,
        clips=tuple(
            Clip(
                view=view,
                video=str(video),
                calibration=calibrations.get(view),
                masks=masks.get(view),
                background=backgrounds.get(view),
            )
            for view, video in videos.items()
        ),
        reference=str(reference) if reference.is_file() else None,
    )


def _calibrations(folder: Path, videos: dict[str, Path]) -> dict[str, Calibration]:
    """The cameras of a take, which are those of its videos; empty where it has no calibration folder."""
    calibration = folder / "calibration"
    if not calibration.exists():
        return {}
    files = [path for path in _visible(calibration) if path.suffix in calibration_files.SUFFIXES]
    if len(files) != 1:
        found = ", ".join(path.name for path in files) or "none"
        raise ValueError(f"{calibration}: expected one .toml or .json file, found {found}")
    cameras = calibration_files.read_calibrations(files[0])
    for view, video in videos.items():
        if view not in cameras:
            raise ValueError(f"{video}: camera {view!r} is not in {files[0]}; it has {', '.join(cameras)}")
    for camera in cameras:
        if camera not in videos:
            raise ValueError(f"{files[0]}: camera {camera!r} has no video; expected {folder / 'videos' / camera}.mp4")
    return cameras


def _beside(folder: Path, videos: dict[str, Path], accepts: Callable[[Path], bool]) -> dict[str, str]:
    """Path per view of what an optional folder holds for the views."""
    if not folder.exists():
        return {}
    paths = _by_name(folder, filter(accepts, _visible(folder)))
    for view, path in paths.items():
        if view not in videos:
            raise ValueError(f"{path}: there is no video of a camera {view!r}; there are {', '.join(videos)}")
    return {view: str(path) for view, path in paths.items()}


def _description(path: Path) -> TakeDescription:
    if not path.exists():
        return TakeDescription()
    return codec.loads(TakeDescription, path.read_text(encoding="utf-8"), str(path))


def _by_name(folder: Path, paths: Iterable[Path]) -> dict[str, Path]:
    """Paths by their name without suffix, in the order of the names."""
    named: dict[str, Path] = {}
    for path in paths:
        name = path.name if path.is_dir() else path.stem
        if name in named:
            raise ValueError(f"{folder}: {named[name].name} and {path.name} are both of camera {name!r}; expected one")
        named[name] = path
    return dict(sorted(named.items()))


def _visible(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder")
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in _VIDEO_SUFFIXES and path.is_file()
