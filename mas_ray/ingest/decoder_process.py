"""A process of its own for each video, so that what a stranger's file does to the decoder stays there.

A crash, a hang or an allocation storm of the decoder becomes a ``BadTakeError``. Frames come through shared memory, a
few of them ahead of the reader; decoding and what is done with the frames run side by side.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from mas_ray.config.ingest import DecodeLimits
from mas_ray.ingest.rejects import BadTakeError
from mas_ray.ingest.small_picture import small_size
from mas_ray.ingest.video import PixelFormat, VideoInfo

Pixels = UInt8[np.ndarray, "height width *channels"]

_LOOK_AHEAD = 3
_PACKAGE_ROOT = str(Path(__file__).parents[2])
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS}

# Isolated and without site-packages' start-up files it starts in half the time; it imports what its parent would.
_COMMAND = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from mas_ray.ingest import decoder_child
decoder_child.main(*map(int, sys.argv[2:]))
"""


class DecoderProcess:
    """A video, opened in a process of its own. Use it as a context.

    One stream of frames runs at a time: to begin another is to leave the one before. Frames of the same kind that lie
    behind those of a stream that was read to its end go on where it stands, so nothing is decoded twice.
    """

    def __init__(self, path: str, limits: DecodeLimits, *, frames_per_s: float | None = None) -> None:
        """Start the process; it opens the video when its ``info`` is asked for.

        Args:
            path: The video.
            limits: What its decoding may take.
            frames_per_s: Of pictures in a folder, if it is known.
        """
        self._path, self._limits, self._frames_per_s = path, limits, frames_per_s
        self._info: VideoInfo | None = None
        self._memory: mmap.mmap | None = None
        self._waited_s, self._stream, self._lines = 0.0, 0, b""
        self._begun: dict[str, Any] = {}
        self._reached: int | None = None  # the last frame of a stream that was read to its end
        # The child's ends of the pipes are closed here once it has them.
        with contextlib.ExitStack() as childs, contextlib.ExitStack() as ours:
            requests, self._requests = self._pipe(childs, ours)
            self._replies, replies = self._pipe(ours, childs)
            lifeline, _ = self._pipe(childs, ours)
            self._frames = os.memfd_create("frames")
            ours.callback(os.close, self._frames)
            fds = (requests, replies, self._frames, lifeline)
            arguments = map(str, (*fds, limits.max_memory_mb * 2**20))
            paths = json.dumps([*sys.path, _PACKAGE_ROOT])
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _COMMAND, paths, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=fds,
                process_group=0,  # Ctrl-C is its parent's to answer
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
            self._files = ours.pop_all()

    @staticmethod
    def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
        """A pipe whose ends are closed with these."""
        read, write = os.pipe()
        reader.callback(os.close, read)
        writer.callback(os.close, write)
        return read, write

    def __enter__(self) -> DecoderProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        if self._memory is not None:
            self._memory.close()
        self._files.close()

    @property
    def info(self) -> VideoInfo:
        """Size, rate, length and times of the video.

        Raises:
            BadTakeError: See ``open_video`` for the video's own reasons; or its decoder crashed
                (``decoder_crashed``), took too long (``decode_timeout``) or too much memory (``decode_memory``).
            OSError: The machine's fault, not the video's.
        """
        if self._info is None:
            limits = self._limits
            self._send(
                do="open",
                path=self._path,
                max_pixels=limits.max_pixels,
                max_frames=limits.max_frames,
                frames_per_s=self._frames_per_s,
            )
            reply = self._receive("info")
            times_s = np.frombuffer(os.pread(self._frames, 8 * reply["num_frames"], 0), np.float64)
            self._info = VideoInfo(
                width_px=reply["width_px"],
                height_px=reply["height_px"],
                frames_per_s=Fraction(*reply["frames_per_s"]),
                num_frames=reply["num_frames"],
                times_s=times_s,
            )
        return self._info

    def frames(
        self, numbers: Sequence[int], *, pixel_format: PixelFormat = "rgb24"
    ) -> Iterator[tuple[int, Pixels | None]]:
        """``Video.frames``, with the errors of ``info``."""
        channels = 3 if pixel_format == "rgb24" else 1
        slot_bytes = self.info.width_px * self.info.height_px * channels
        return self._streamed(numbers, slot_bytes, do="frames", pixel_format=pixel_format)

    def small_frames(self, numbers: Sequence[int], *, size_px: int) -> Iterator[tuple[int, Pixels | None]]:
        """``Video.small_frames``, with the errors of ``info``."""
        width_px, height_px = small_size(self.info.width_px, self.info.height_px, size_px=size_px)
        return self._streamed(numbers, width_px * height_px * 3, do="small_frames", size_px=size_px)

    def _streamed(self, numbers: Sequence[int], slot_bytes: int, **begin: Any) -> Iterator[tuple[int, Pixels | None]]:
        memory = self._shared_memory()
        begin["slot_bytes"] = slot_bytes
        goes_on = begin == self._begun and self._reached is not None and len(numbers) > 0 and numbers[0] > self._reached
        self._reached = None
        if not goes_on:
            self._stream, self._begun = self._stream + 1, begin
            self._send(**begin, stream=self._stream)
        stream = self._stream
        for position in range(min(_LOOK_AHEAD, len(numbers))):
            self._want(numbers, position)
        for position, number in enumerate(numbers):
            if stream != self._stream:
                raise RuntimeError(f"{self._path}: another stream of frames was begun before this one was read")
            reply = self._receive("frame", stream=stream)
            pixels = None
            if reply["shape"] is not None:
                offset = position % _LOOK_AHEAD * slot_bytes
                pixels = np.ndarray(reply["shape"], np.uint8, buffer=memory, offset=offset).copy()
            if position + _LOOK_AHEAD < len(numbers):
                self._want(numbers, position + _LOOK_AHEAD)
            elif position + 1 == len(numbers):
                self._reached = int(number)
            yield number, pixels

    def _want(self, numbers: Sequence[int], position: int) -> None:
        self._send(do="want", number=int(numbers[position]), slot=position % _LOOK_AHEAD)

    def _shared_memory(self) -> mmap.mmap:
        if self._memory is None:
            num_bytes = _LOOK_AHEAD * self.info.width_px * self.info.height_px * 3
            os.ftruncate(self._frames, num_bytes)
            self._memory = mmap.mmap(self._frames, num_bytes, prot=mmap.PROT_READ)
        return self._memory

    def _send(self, **message: Any) -> None:
        with contextlib.suppress(BrokenPipeError):  # why it died is said when its reply is awaited
            os.write(self._requests, json.dumps(message).encode() + b"\n")

    def _receive(self, kind: str, **expected: Any) -> dict[str, Any]:
        """The next reply of a kind; replies to a stream that was left are passed over."""
        while True:
            reply = json.loads(self._read_line())
            match reply["kind"]:
                case "bad":
                    raise BadTakeError(reply["reason"], reply["message"])
                case "memory":
                    message = f"decoding takes more than {self._limits.max_memory_mb} MiB of memory"
                    raise self._bad("decode_memory", message)
                case "machine":
                    raise OSError(reply["errno"], reply["message"], self._path)
                case "bug":
                    raise RuntimeError(f"{self._path}: the decoder process failed:\n{reply['message']}")
                case _:
                    if reply["kind"] == kind and all(reply[key] == value for key, value in expected.items()):
                        return reply

    def _read_line(self) -> bytes:
        while b"\n" not in self._lines:
            if not self._wait(self._limits.max_frame_s):
                raise self._bad("decode_timeout", f"no frame came for {self._limits.max_frame_s:g} s")
            if self._waited_s > self._limits.max_clip_s:
                raise self._bad("decode_timeout", f"decoding took more than {self._limits.max_clip_s:g} s")
            received = os.read(self._replies, 1 << 16)
            if not received:
                raise self._death()
            self._lines += received
        line, _, self._lines = self._lines.partition(b"\n")
        return line

    def _wait(self, longest_s: float) -> bool:
        """Whether there is something to read within this time."""
        begin_s = time.monotonic()
        poll = select.poll()
        poll.register(self._replies, select.POLLIN)
        ready = poll.poll(1000 * longest_s)
        self._waited_s += time.monotonic() - begin_s
        return bool(ready)

    def _death(self) -> Exception:
        """What it means that the process ended on its own."""
        code = self._process.wait()
        if -code in _CRASHES:
            return self._bad("decoder_crashed", f"the decoder crashed with {signal.Signals(-code).name}")
        if code < 0:  # by the system for want of memory, or by its operator: the video may be fine
            return ChildProcessError(f"{self._path}: its decoder was killed with {signal.Signals(-code).name}")
        return RuntimeError(f"{self._path}: the decoder process ended with status {code}; its stderr says why")

    def _bad(self, reason: str, message: str) -> BadTakeError:
        return BadTakeError(reason, f"{Path(self._path).name}: {message}")
