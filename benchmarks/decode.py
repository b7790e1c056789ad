"""Decoding 1080p: small pictures against pure decoding, and a process of its own against none.

    python benchmarks/decode.py [VIDEO]

A minute, or as long as 4 x 5 passes over the first frames of your own video take. Without one, a moving texture is
encoded first (H.264, CRF 23). All variants decode on one thread; their CPU time includes that of the decoder process.
"""

from __future__ import annotations

import itertools
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
from measure import print_table

from mas_ray.config.ingest import DecodeLimits
from mas_ray.ingest.decoder_process import DecoderProcess
from mas_ray.ingest.video import Video, open_video

SIZE_PX = 256
NUM_FRAMES = 48
REPETITIONS = 5
LIMITS = DecodeLimits()
TARGET = f"decoding and reducing to {SIZE_PX} px at most 1.5 times the cost of decoding alone"


def write_texture(path: Path, num: int) -> None:
    """A blurred texture that drifts and turns, with a little noise of the sensor, at 1920 x 1080."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (1400, 2400, 3), np.uint8), (0, 0), 3)
    texture = cv2.normalize(texture, np.zeros_like(texture), 0, 255, cv2.NORM_MINMAX)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for i in range(num):
            turned = cv2.getRotationMatrix2D((1200, 700), 0.1 * i, 1.0)
            turned[:, 2] += (2 * i - 240, -160)
            image = cv2.warpAffine(texture, turned, (1920, 1080)).astype(np.int16)
            image = (image + rng.integers(-2, 3, image.shape, np.int16)).clip(0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def decode_alone(path: str, num: int) -> None:
    """Frames as the decoder leaves them."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for _ in itertools.islice(container.decode(stream), num):
            pass


def cv2_area(path: str, num: int) -> None:
    """What one writes first: read in full, then resize by area."""
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    for _ in range(num):
        image = capture.read()[1]
        scale = SIZE_PX / min(image.shape[:2])
        cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def small_here(video: Video, num: int) -> None:
    """Small pictures, in this process."""
    for _ in video.small_frames(range(num), size_px=SIZE_PX):
        pass


def full_here(video: Video, num: int) -> None:
    """Full frames in RGB, in this process."""
    for _ in video.frames(range(num)):
        pass


def small_there(path: str, num: int) -> None:
    """Small pictures, in a process of their own."""
    with DecoderProcess(path, LIMITS) as process:
        for _ in process.small_frames(range(num), size_px=SIZE_PX):
            pass


def full_there(path: str, num: int) -> None:
    """Full frames in RGB, in a process of their own."""
    with DecoderProcess(path, LIMITS) as process:
        for _ in process.frames(range(num)):
            pass


def start(path: str) -> None:
    """Begin and end a process that opens the video."""
    with DecoderProcess(path, LIMITS) as process:
        _ = process.info


def seconds(call: Callable[[], None]) -> tuple[float, float]:
    """CPU seconds of this process and of those that it ended, and wall seconds."""
    begin_s, begin_cpu_s = time.perf_counter(), cpu_s()
    call()
    return cpu_s() - begin_cpu_s, time.perf_counter() - begin_s


def cpu_s() -> float:
    """CPU seconds so far, user and system."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(path: str) -> None:
    """Print the table of a video."""
    cv2.setNumThreads(1)
    video = open_video(path, max_pixels=LIMITS.max_pixels, max_frames=LIMITS.max_frames)
    num = min(NUM_FRAMES, video.info.num_frames)
    variants: dict[str, Callable[[], None]] = {
        "decode alone": partial(decode_alone, path, num),
        "cv2 read, INTER_AREA": partial(cv2_area, path, num),
        "small_frames, in process": partial(small_here, video, num),
        "frames, in process": partial(full_here, video, num),
        "start and open": partial(start, path),
        "small_frames, own process": partial(small_there, path, num),
        "frames, own process": partial(full_there, path, num),
    }
    rounds = [{name: seconds(call) for name, call in variants.items()} for _ in range(REPETITIONS)]
    medians = {name: [statistics.median(round_[name][i] for round_ in rounds) for i in (0, 1)] for name in variants}
    # What a longer video spreads over more frames is shown apart.
    start_cpu_s, start_wall_s = medians.pop("start and open")
    for name in ("small_frames, own process", "frames, own process"):
        medians[name] = [medians[name][0] - start_cpu_s, medians[name][1] - start_wall_s]
    base_s = medians["decode alone"][0]
    rows = [
        (name, f"{1e3 * cpu / num:.2f}", f"{cpu / base_s:.2f}", f"{1e3 * wall / num:.2f}")
        for name, (cpu, wall) in medians.items()
    ]
    size = f"{video.info.width_px} x {video.info.height_px}"
    print_table(f"{size}, {num} frames", ("variant", "CPU ms/frame", "x decode", "wall ms/frame"), rows)
    print(f"\nA decoder process takes {1e3 * start_cpu_s:.0f} ms of CPU to start and open the video,")
    print(f"{1e3 * start_wall_s:.0f} ms of wall time; this is not in the table.")
    print(f"Target: {TARGET}.")


def main() -> None:
    """Measure the given video, or one that is made."""
    if len(sys.argv) > 1:
        measure(sys.argv[1])
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texture.mp4"
        write_texture(path, NUM_FRAMES)
        print(f"{8e-6 * path.stat().st_size * 30 / NUM_FRAMES:.1f} Mbit/s")
        measure(str(path))


if __name__ == "__main__":
    main()
