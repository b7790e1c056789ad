"""The HTTP service under twice the load that it can bear: nothing falls over, and who is too many is told so at once.

    python benchmarks/serve.py --seconds 300

First as many clients as a replica takes on, each sending its next picture when it has its answer: that is the
capacity. Then requests at twice that rate, whether or not those before them are answered, and a damaged, a foreign and
an oversized upload every second. Generated pictures, the packaged checkpoint, selfie masks.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
import numpy as np
import psutil
import tyro
from PIL import Image

from mas_ray.config.ingest import SelfieMasks
from mas_ray.config.jobs import ServeJob, UploadLimits
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import frames, record
from mas_ray.pipelines.serve import serving

_REFUSED = {"damaged": 400, "foreign": 415, "oversized": 413}
_LONGEST_WAIT_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Load the service."""

    seconds: float = 300.0
    """Of the overload."""
    capacity_seconds: float = 30.0
    size_px: int = 512
    """Of the pictures."""
    port: int = 8765


@dataclass(kw_only=True)
class Answers:
    """What came back: statuses, and how long each took."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, status: str, seconds: float) -> None:
        """Count one."""
        self.statuses[status] += 1
        self.seconds.setdefault(status, []).append(seconds)


def main(flags: Flags) -> None:
    """Measure and print."""
    job = ServeJob(checkpoint="packaged", port=flags.port, masks=SelfieMasks(), limits=UploadLimits(max_mb=4.0))
    with serving(job) as address:
        asyncio.run(_measure(address, job, flags))


async def _measure(address: str, job: ServeJob, flags: Flags) -> None:
    pictures = _pictures(flags.size_px)
    timeout = aiohttp.ClientTimeout(total=_LONGEST_WAIT_S)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as client:
        url = f"{address}/v1/poses"
        for picture in pictures[:2]:
            await _send(client, url, picture, "image/jpeg", Answers())  # warm
        answers = Answers()
        stop = time.monotonic() + flags.capacity_seconds
        clients = [_closed_loop(client, url, pictures[i:], answers, stop) for i in range(job.max_ongoing)]
        await asyncio.gather(*clients)
        capacity = answers.statuses["200"] / flags.capacity_seconds
        print(f"capacity: {capacity:.2f} pictures/s of {flags.size_px} px, {job.max_ongoing} at a time", flush=True)
        before = _memory_mb()
        answers, refusals = Answers(), Answers()
        async with asyncio.TaskGroup() as tasks:
            start = time.monotonic()
            number, second = 0, 0
            while (now := time.monotonic() - start) < flags.seconds:
                while number < 2 * capacity * now:
                    picture = pictures[number % len(pictures)]
                    tasks.create_task(_send(client, url, picture, "image/jpeg", answers))
                    number += 1
                if now >= second:
                    second += 1
                    for kind, (data, content_type) in _bad(pictures[0]).items():
                        tasks.create_task(_send_bad(client, url, data, content_type, kind, refusals))
                    if second % 60 == 0:
                        print(f"  {second} s: {dict(answers.statuses)}, {_memory_mb():.0f} MB", flush=True)
                await asyncio.sleep(0.01)
        print(f"sent {number} pictures at twice that for {flags.seconds:.0f} s: {dict(answers.statuses)}")
        for status, seconds in sorted(answers.seconds.items()):
            middle, high = np.percentile(seconds, [50, 99])
            print(
                f"  {status}: answered after {middle:.2f} s (median), {high:.2f} s (99 %), {max(seconds):.2f} s (most)"
            )
        print(f"answered: {answers.statuses['200'] / flags.seconds / capacity:.2f} of the capacity")
        print(f"bad uploads: {dict(refusals.statuses)}")
        await _send(client, url, pictures[0], "image/jpeg", after := Answers())
        print(f"afterwards: {dict(after.statuses)}; memory of all processes {before:.0f} -> {_memory_mb():.0f} MB")


async def _closed_loop(
    client: aiohttp.ClientSession, url: str, pictures: list[bytes], answers: Answers, stop: float
) -> None:
    number = 0
    while time.monotonic() < stop:
        await _send(client, url, pictures[number % len(pictures)], "image/jpeg", answers)
        number += 1


async def _send(client: aiohttp.ClientSession, url: str, data: bytes, content_type: str, answers: Answers) -> None:
    start = time.monotonic()
    try:
        async with client.post(url, data=data, headers={"Content-Type": content_type}) as response:
            await response.read()
            status = str(response.status)
    except (aiohttp.ClientError, TimeoutError) as error:
        status = type(error).__name__
    answers.add(status, time.monotonic() - start)


async def _send_bad(
    client: aiohttp.ClientSession, url: str, data: bytes, content_type: str, kind: str, refusals: Answers
) -> None:
    found = Answers()
    await _send(client, url, data, content_type, found)
    ((status, _),) = found.statuses.items()
    expected = status in (str(_REFUSED[kind]), "503")
    refusals.add(f"{kind} {status}{'' if expected else ' UNEXPECTED'}", 0.0)


def _bad(picture: bytes) -> dict[str, tuple[bytes, str]]:
    return {
        "damaged": (picture[: len(picture) // 2], "image/jpeg"),
        "foreign": (b"#!/bin/sh", "text/x-shellscript"),
        "oversized": (picture + bytes(5_000_000), "image/jpeg"),
    }


def _pictures(size_px: int) -> list[bytes]:
    config = SyntheticConfig(
        num_subjects=1, takes_per_subject=1, instants_per_take=8, num_cameras=1, width_px=size_px, height_px=size_px
    )
    recording = record(config, 0, 0)
    encoded: list[bytes] = []
    for image, _ in frames(recording, next(iter(recording.cameras))):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=90)
        encoded.append(file.getvalue())
    return encoded


def _memory_mb() -> float:
    """Of this process and all that it started."""
    me = psutil.Process()
    total = 0
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_full_info().uss
        except psutil.Error:
            continue
    return total / 1e6


if __name__ == "__main__":
    main(tyro.cli(Flags, description=__doc__))
