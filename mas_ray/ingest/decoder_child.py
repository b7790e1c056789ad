"""What the decoder process runs: videos or folders of pictures under limits, frames into memory shared with its parent.

Requests and replies are lines of JSON on two pipes. ``open`` is answered by what is known of the video; ``frames`` and
``small_frames`` begin a stream, in which every ``want`` is answered by one frame, in a slot of the shared memory that
the parent names. A stream ends with whatever request comes instead of a ``want``.
"""

# Its start is paid for every clip: no import here or in what is imported may bring OpenCV, pyarrow, torch or jaxtyping.

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import resource
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mas_ray.ingest.picture_folder import PictureFolder, open_picture_folder
from mas_ray.ingest.video import BadVideoError, Video, VideoInfo, open_video

_ALIVE_EVERY_S = 1.0

Message = dict[str, Any]


def main(requests_fd: int, replies_fd: int, frames_fd: int, lifeline_fd: int, memory_bytes: int) -> None:
    """Serve requests until there are no more.

    Args:
        requests_fd: Pipe of requests.
        replies_fd: Pipe of replies.
        frames_fd: The memory shared with the parent.
        lifeline_fd: A pipe whose other end only the parent holds.
        memory_bytes: How much more address space than at the start may be taken.
    """
    _die_with_the_holder_of(lifeline_fd)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory = _MemoryLimit(memory_bytes)
    with os.fdopen(requests_fd, "rb") as requests, os.fdopen(replies_fd, "wb", buffering=0) as replies:

        def send(**message: Any) -> None:
            replies.write(json.dumps(message).encode() + b"\n")

        try:
            _serve((json.loads(line) for line in requests), send, frames_fd, memory)
        except BadVideoError as error:
            if memory.is_short():
                send(kind="memory")
            else:
                send(kind="bad", reason=error.reason, message=str(error))
        except MemoryError:
            send(kind="memory")
        except OSError as error:
            if error.errno == errno.ENOMEM:
                send(kind="memory")
            else:
                send(kind="machine", errno=error.errno, message=error.strerror or str(error))
        except Exception:  # a bug of ours: whatever it is, the parent must hear of it
            send(kind="bug", message=traceback.format_exc())


def _serve(requests: Iterator[Message], send: Any, frames_fd: int, memory: _MemoryLimit) -> None:
    video: Video | PictureFolder | None = None
    request = next(requests, None)
    while request is not None:
        if request["do"] == "open":
            alive = _Alive(send)
            path, limits = request["path"], {name: request[name] for name in ("max_pixels", "max_frames")}
            if Path(path).is_dir():
                video = open_picture_folder(path, **limits, frames_per_s=request["frames_per_s"], alive=alive)
            else:
                video = open_video(path, **limits, alive=alive)
            send(kind="info", **_described(video.info, frames_fd))
            request = next(requests, None)
        elif request["do"] in ("frames", "small_frames") and video is not None:
            request = _stream(video, request, requests, send, frames_fd, memory)
        else:  # a want of a stream that was left
            request = next(requests, None)


def _stream(
    video: Video | PictureFolder,
    begin: Message,
    requests: Iterator[Message],
    send: Any,
    frames_fd: int,
    memory: _MemoryLimit,
) -> Message | None:
    """Answer wants by frames; returns the first request that is none."""
    slots: list[int] = []
    after: list[Message] = []

    def wanted() -> Iterator[int]:
        for request in requests:
            if request["do"] != "want":
                after.append(request)
                return
            slots.append(request["slot"])
            yield request["number"]

    if begin["do"] == "frames":
        frames = video.frames(wanted(), pixel_format=begin["pixel_format"])
    else:
        frames = video.small_frames(wanted(), size_px=begin["size_px"])
    with mmap.mmap(frames_fd, 0) as shared:
        for number, pixels in frames:
            if pixels is None and memory.is_short():
                raise MemoryError
            if pixels is not None:
                slot = np.ndarray(pixels.shape, np.uint8, buffer=shared, offset=slots[-1] * begin["slot_bytes"])
                slot[...] = pixels
                del slot  # the memory cannot be closed while it is looked at
            send(kind="frame", stream=begin["stream"], number=number, shape=None if pixels is None else pixels.shape)
    return after[0] if after else None


class _Alive:
    """Tells the parent, now and then, that something was read or decoded."""

    def __init__(self, send: Any) -> None:
        self._send, self._last_s = send, time.monotonic()

    def __call__(self) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s >= _ALIVE_EVERY_S:
            self._last_s = now_s
            self._send(kind="alive")


def _described(info: VideoInfo, frames_fd: int) -> Message:
    """What is known of the video; the times are left in the shared memory."""
    os.pwrite(frames_fd, info.times_s.tobytes(), 0)
    return {
        "width_px": info.width_px,
        "height_px": info.height_px,
        "frames_per_s": info.frames_per_s.as_integer_ratio(),
        "num_frames": info.num_frames,
    }


def _die_with_the_holder_of(lifeline_fd: int) -> None:
    """Let the kernel end this process, hung decoder and all, when the other end of the pipe is closed.

    The usual PR_SET_PDEATHSIG would already strike when the thread ends that started this process.
    """
    fcntl.fcntl(lifeline_fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline_fd, fcntl.F_SETFL, fcntl.fcntl(lifeline_fd, fcntl.F_GETFL) | os.O_ASYNC)


class _MemoryLimit:
    """The address space that this process may take from here on."""

    def __init__(self, num_bytes: int) -> None:
        limit = _status_bytes("VmSize") + num_bytes
        self._short_from = limit - num_bytes // 8
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    def is_short(self) -> bool:
        """Whether the last eighth was touched: decoders that then fail often call it damage, not want of memory."""
        return _status_bytes("VmPeak") > self._short_from


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
