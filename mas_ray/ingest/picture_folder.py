"""A folder of pictures read like a video: corpora that are handed out as pictures.

A picture's number is what its name ends in, ``frame_000012.jpg``, counted from 0 if there is a picture 0 and from 1
otherwise: a picture that is missing leaves a hole and shifts none of those after it. If some name ends in no number, or
two in the same, the order of the names counts.
"""

# Imported by the decoder process, whose start is paid for every clip: av, numpy and the standard library only. That
# is why arrays are not typed by jaxtyping here.

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from mas_ray.ingest.small_picture import small_picture
from mas_ray.ingest.video import (
    BadVideoError,
    PixelFormat,
    VideoInfo,
    check_not_too_large,
    raise_if_the_machines,
)

PICTURE_FORMATS = {".jpg": "jpeg_pipe", ".jpeg": "jpeg_pipe", ".png": "png_pipe"}
"""FFmpeg's readers of a single picture by suffix; whatever a picture claims to be, nothing else reads it."""
_FRAMES_PER_S = 25.0
"""Where nobody knows better."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureFolder:
    """Pictures of one size; see ``open_picture_folder``."""

    paths: Mapping[int, Path]
    """By their numbers."""
    info: VideoInfo
    max_pixels: int
    alive: Callable[[], None]

    def frames(
        self, numbers: Iterable[int], *, pixel_format: PixelFormat = "rgb24"
    ) -> Iterator[tuple[int, np.ndarray | None]]:
        """As ``Video.frames``."""
        reformatter = VideoReformatter()
        for number, frame in self._find(numbers):
            if frame is None:
                yield number, None
            else:
                yield number, reformatter.reformat(frame, format=pixel_format, threads=1).to_ndarray()

    def small_frames(self, numbers: Iterable[int], *, size_px: int) -> Iterator[tuple[int, np.ndarray | None]]:
        """As ``Video.small_frames``."""
        reformatter = VideoReformatter()
        for number, frame in self._find(numbers):
            yield number, None if frame is None else small_picture(frame, size_px, reformatter)

    def _find(self, numbers: Iterable[int]) -> Iterator[tuple[int, av.VideoFrame | None]]:
        for number in numbers:
            found = _decode(self.paths[number], self.max_pixels) if number in self.paths else None
            if found is not None and (found.width, found.height) != (self.info.width_px, self.info.height_px):
                raise BadVideoError(
                    "changing_size",
                    f"{self.paths[number].name}: {found.width}x{found.height} px, "
                    f"the first picture is {self.info.width_px}x{self.info.height_px} px",
                )
            self.alive()
            yield number, found


def open_picture_folder(
    path: str,
    *,
    max_pixels: int,
    max_frames: int,
    frames_per_s: float | None = None,
    alive: Callable[[], None] = lambda: None,
) -> PictureFolder:
    """List the pictures of a folder, and look at the first one that decodes. Pictures carry no rate: it is given.

    Raises:
        BadVideoError: None of them decodes (``unreadable_video``), that one has too many pixels (``too_large``), or
            they are too many (``too_long``).
        OSError: The machine's fault, not the pictures'.
    """
    folder = Path(path)
    paths = numbered(file for file in folder.iterdir() if file.suffix.lower() in PICTURE_FORMATS)
    num_frames = max(paths, default=-1) + 1
    if num_frames > max_frames:
        raise BadVideoError("too_long", f"{folder.name}: {num_frames} frames, at most {max_frames} may be")
    first = next((frame for file in paths.values() if (frame := _decode(file, max_pixels)) is not None), None)
    if first is None:
        raise BadVideoError("unreadable_video", f"{folder.name}: no picture in it decodes")
    check_not_too_large(folder.name, first.width, first.height, max_pixels)
    rate = Fraction(frames_per_s or _FRAMES_PER_S).limit_denominator(1001)
    info = VideoInfo(
        width_px=first.width,
        height_px=first.height,
        frames_per_s=rate,
        num_frames=num_frames,
        times_s=np.arange(num_frames) / float(rate),
    )
    return PictureFolder(paths=paths, info=info, max_pixels=max_pixels, alive=alive)


def numbered(files: Iterable[Path]) -> dict[int, Path]:
    """Pictures by their numbers, ascending."""
    ordered = sorted(files)
    found = [re.search(r"(\d{1,9})$", file.stem) for file in ordered]
    numbers = [int(match[1]) for match in found if match]
    if len(set(numbers)) < len(ordered):
        return dict(enumerate(ordered))
    first = 0 if 0 in numbers else 1
    return dict(sorted((number - first, file) for number, file in zip(numbers, ordered, strict=True)))


def _decode(path: Path, max_pixels: int) -> av.VideoFrame | None:
    """The picture of a regular file; None for one that does not decode."""
    if not path.is_file():  # a pipe would be waited for
        return None
    try:
        options = {"protocol_whitelist": "file"}
        with av.open(f"file:{path}", format=PICTURE_FORMATS[path.suffix.lower()], container_options=options) as found:
            found.streams.video[0].codec_context.options = {"max_pixels": str(2 * max_pixels)}
            return next((frame for frame in found.decode(video=0) if not frame.is_corrupt), None)
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise_if_the_machines(error)
        return None
