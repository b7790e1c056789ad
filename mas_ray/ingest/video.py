"""Videos through FFmpeg, frame by frame: upright pixels, numbered and timed by their time stamps.

A frame's number is the rank of its presentation time in the video, so a frame that does not decode leaves a hole
and never shifts the frames after it against the other cameras. Videos are what strangers put there: this module runs
in a process of its own (``decoder_process``), and opens nothing but the one file, as a container of video only.
"""

# Imported by the decoder process, whose start is paid for every clip: av, numpy and the standard library only. That
# is why arrays are not typed by jaxtyping here.

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from mas_ray.ingest.small_picture import small_picture
from mas_ray.ingest.timeline import Timeline, timeline_of

if TYPE_CHECKING:
    from av.container import InputContainer

PixelFormat = Literal["rgb24", "gray"]

_MACHINE_ERRORS = {errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT}

# Not among them: playlists, which name other files, and pictures and texts, which FFmpeg shows as videos.
_CONTAINERS = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg"


class BadVideoError(ValueError):
    """A video that cannot be used; ``reason`` is the one word to count it by."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoInfo:
    """What is known of a video before its frames are decoded; upright, that is after its rotation.

    Attributes:
        width_px: Of the first frame; all others must have the same size.
        height_px: Its height.
        frames_per_s: The average rate.
        num_frames: The frames that the header claims or the file holds, whichever are more.
        times_s: When each frame is shown, in seconds after the first (float64, never descending).
    """

    width_px: int
    height_px: int
    frames_per_s: Fraction
    num_frames: int
    times_s: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Video:
    """A video that has been looked through once; see ``open_video``.

    Attributes:
        path: The file.
        info: Its size, rate and length.
        timeline: The numbers of its frames.
        max_pixels: The largest frame that may be decoded.
        alive: Called whenever something was read or decoded.
    """

    path: str
    info: VideoInfo
    timeline: Timeline
    max_pixels: int
    alive: Callable[[], None]

    def frames(
        self, numbers: Iterable[int], *, pixel_format: PixelFormat = "rgb24"
    ) -> Iterator[tuple[int, np.ndarray | None]]:
        """The frames of increasing numbers, upright, one at a time; None for one that does not decode.

        Arrays are (height, width, 3) for ``rgb24``, (height, width) for ``gray``, of uint8. Transparency is ignored.

        Raises:
            BadVideoError: The file is no longer a video (``unreadable_video``) or a frame has another size than the
                first (``changing_size``).
        """
        reformatter = VideoReformatter()
        for number, frame in self._find(numbers):
            if frame is None:
                yield number, None
            else:
                # One thread: takes and views already run side by side.
                pixels = reformatter.reformat(frame, format=pixel_format, threads=1).to_ndarray()
                yield number, _upright(pixels, frame)

    def small_frames(self, numbers: Iterable[int], *, size_px: int) -> Iterator[tuple[int, np.ndarray | None]]:
        """Like ``frames`` in ``rgb24``, but the shorter side of each picture is ``size_px`` at most."""
        reformatter = VideoReformatter()
        for number, frame in self._find(numbers):
            if frame is None:
                yield number, None
            else:
                yield number, _upright(small_picture(frame, size_px, reformatter), frame)

    def _find(self, numbers: Iterable[int]) -> Iterator[tuple[int, av.VideoFrame | None]]:
        try:
            decoded = _decode(self.path, self.max_pixels)
            number, frame = -1, None
            for wanted in numbers:
                while number < wanted:
                    frame = next(decoded, None)
                    if frame is None:
                        break
                    self.alive()
                    number = self.timeline.number_after(number, frame.pts)
                found = frame if number == wanted else None
                if found is not None:
                    self._check_size(found, number)
                yield wanted, found
        except (av.error.FFmpegError, OSError) as error:
            raise _unreadable(self.path, error) from None

    def _check_size(self, frame: av.VideoFrame, number: int) -> None:
        width, height = _upright_size(frame)
        if (width, height) != (self.info.width_px, self.info.height_px):
            raise BadVideoError(
                "changing_size",
                f"{Path(self.path).name}: frame {number} is {width}x{height} px, "
                f"the first is {self.info.width_px}x{self.info.height_px} px",
            )


def open_video(path: str, *, max_pixels: int, max_frames: int, alive: Callable[[], None] = lambda: None) -> Video:
    """Look through a video: its header, the time stamps of its packets, its first frame that decodes.

    Args:
        path: The file.
        max_pixels: Frames of more pixels, or longer than twice the side of a square of as many, are refused by the
            header, before any is decoded.
        max_frames: Videos of more frames are refused.
        alive: Called whenever something was read or decoded: whoever waits may then wait on.

    Raises:
        BadVideoError: It is not a video, or none of its frames decodes (``unreadable_video``), its frames have too many
            pixels (``too_large``) or are too many (``too_long``), or time does not pass in it (``no_frame_rate``).
        OSError: The machine's fault, not the video's.
        MemoryError: Memory ran out.
    """
    name = Path(path).name
    if Path(path).exists() and not Path(path).is_file():  # a pipe would be waited for
        raise BadVideoError("unreadable_video", f"{name}: not a readable video: not a file")
    try:
        with _open(path) as container:
            if not container.streams.video:
                raise BadVideoError("unreadable_video", f"{name}: holds no video stream")
            stream = container.streams.video[0]
            if not stream.codec_context:
                raise BadVideoError("unreadable_video", f"{name}: of a codec that is not known")
            check_not_too_large(name, stream.codec_context.width, stream.codec_context.height, max_pixels)
            timeline, num_hidden = _read_timeline(container, alive)
            declared_rate, time_base, num_declared = stream.average_rate, stream.time_base, stream.frames
        num_frames = max(num_declared - num_hidden, timeline.num_packets)
        if num_frames > max_frames:
            raise BadVideoError("too_long", f"{name}: {num_frames} frames, at most {max_frames} may be")
        first = next(_decode(path, max_pixels), None)
    except (av.error.FFmpegError, OSError, UnicodeError) as error:
        raise _unreadable(path, error) from None
    if first is None or time_base is None:
        raise BadVideoError("unreadable_video", f"{name}: no frame decodes")
    rate = declared_rate or timeline.average_rate(time_base)
    if not rate or rate < 0:
        raise BadVideoError("no_frame_rate", f"{name}: its frames have neither a rate nor different times")
    width, height = _upright_size(first)
    check_not_too_large(name, width, height, max_pixels)  # whatever the header says
    info = VideoInfo(
        width_px=width,
        height_px=height,
        frames_per_s=Fraction(rate),
        num_frames=num_frames,
        times_s=timeline.times_s(num_frames, time_base=time_base, frames_per_s=Fraction(rate)),
    )
    return Video(path=path, info=info, timeline=timeline, max_pixels=max_pixels, alive=alive)


def check_not_too_large(name: str, width: int, height: int, max_pixels: int) -> None:
    """Refuse frames that are too large; strips count by their length: whoever follows a person works on squares.

    Raises:
        BadVideoError: ``too_large``.
    """
    if width * height > max_pixels:
        raise BadVideoError("too_large", f"{name}: {width}x{height} px, at most {max_pixels} pixels may be")
    if max(width, height) ** 2 > 4 * max_pixels:
        raise BadVideoError("too_large", f"{name}: {width}x{height} px, at most {math.isqrt(4 * max_pixels)} long")


def _open(path: str) -> InputContainer:
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    return av.open(f"file:{path}", container_options=options)


def _read_timeline(container: InputContainer, alive: Callable[[], None]) -> tuple[Timeline, int]:
    """The timeline of what the file still holds, and the number of frames cut away by the container's edit list."""
    num_hidden = 0

    def packets() -> Iterator[tuple[int | None, bool]]:
        nonlocal num_hidden
        try:
            for packet in container.demux(video=0):
                alive()
                num_hidden += packet.is_discard
                if packet.size and not packet.is_discard:
                    yield packet.pts, packet.is_keyframe
        except av.error.FFmpegError as error:
            raise_if_the_machines(error)  # otherwise a truncated file ends here

    return timeline_of(packets()), num_hidden


def _decode(path: str, max_pixels: int) -> Iterator[av.VideoFrame]:
    """Frames in presentation order. After damage, none until the next key frame: they would build on it."""
    with _open(path) as container:
        stream = container.streams.video[0]
        # One thread per video: takes and views already run side by side, and errors fall on the same packet always.
        stream.codec_context.thread_count = 1
        # Whatever the header says, no larger frame is begun; twice, because FFmpeg counts what pads a frame, too.
        stream.codec_context.options = {"err_detect": "explode", "max_pixels": str(2 * max_pixels)}
        damaged = False
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                if damaged and not packet.is_keyframe:
                    continue
                damaged = False
                decoded = packet.decode()
            except av.error.FFmpegError as error:
                raise_if_the_machines(error)
                damaged = True
                stream.codec_context.flush_buffers()
                continue
            yield from (frame for frame in decoded if not frame.is_corrupt)


def raise_if_the_machines(error: Exception) -> None:
    """Raise an error that is the machine's fault and may be gone tomorrow: it says nothing of the video."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _MACHINE_ERRORS):
        raise error


def _unreadable(path: str, error: Exception) -> BadVideoError:
    raise_if_the_machines(error)
    reason = getattr(error, "strerror", None) or type(error).__name__
    return BadVideoError("unreadable_video", f"{Path(path).name}: not a readable video: {reason}")


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Counterclockwise, 0 to 3, by the display matrix."""
    return round(frame.rotation / 90) % 4


def _upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    return (frame.height, frame.width) if _quarter_turns(frame) % 2 else (frame.width, frame.height)


def _upright(pixels: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    return np.rot90(pixels, k=_quarter_turns(frame))
