"""Frames per second of `mas-ray ingest` against bare loops of the same operations, on the same clips in the same run.

    python benchmarks/ingest.py --clips 8 --frames 300 --pairs 5

A bare loop is one process without Ray, child processes, journals or records: decode, look the clip over, mask, judge,
cut, encode, write. With two workers the yardstick is two bare loops at the same time, each on half of the clips. Ray
and all processes are started before a clock runs; what each ingest starts anew (its actors) counts. Wall-clock time,
interleaved: it needs a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measure import print_table

from mas_ray.config.ingest import BackgroundMasks, CropConfig, CurationConfig, MaskQualityConfig
from mas_ray.config.jobs import IngestJob, Workers
from mas_ray.corpora.folder import takes
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import write_corpus
from mas_ray.corpora.take import Take
from mas_ray.ingest.crop import crop_from_image, warp_image, warp_mask
from mas_ray.ingest.curation.mask_stability import MaskShape, judge_stability
from mas_ray.ingest.curation.survey import survey_clip
from mas_ray.ingest.geodesic import geodesic_distances
from mas_ray.ingest.mask_quality import reject_reason
from mas_ray.ingest.masks.background import BackgroundMasker
from mas_ray.ingest.rows import frame_set_row, view_row
from mas_ray.ingest.video import Video, open_video
from mas_ray.shards.images import encode_distances, encode_image, encode_mask
from mas_ray.shards.write import write_rows

Clock = Callable[[str], AbstractContextManager[None]]

_TARGET = 0.85
_SURVEY_PX = 96
_NUM_PLATE_FRAMES = 25
_CROP, _QUALITY, _CURATION = CropConfig(), MaskQualityConfig(), CurationConfig()


def main() -> int:
    """Measure, and print the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--bare", nargs=3, metavar=("CORPUS", "PART", "PARTS"), help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.bare:
        return _bare_when_told(Path(flags.bare[0]), int(flags.bare[1]), int(flags.bare[2]))
    with tempfile.TemporaryDirectory(prefix="mas-ray-ingest-") as name:
        folder = Path(name)
        config = SyntheticConfig(
            num_subjects=flags.clips, takes_per_subject=1, instants_per_take=flags.frames, num_cameras=1, fps=25,
            width_px=640, height_px=480, person_height_fraction=0.5,
        )  # fmt: skip
        write_corpus(folder / "corpus", config)
        _print_steps(next(takes(folder / "corpus")), folder)
        num_frames = flags.clips * flags.frames
        rows = [_compare(folder, num_workers, num_frames, flags.pairs) for num_workers in flags.workers]
        columns = ["workers", "bare loops, frames/s", "ingest, frames/s", "ratio", "of the pairs", "target"]
        print_table(f"{flags.clips} clips of {flags.frames} frames, 640x480, background masks", columns, rows)
    return 0


def _compare(folder: Path, num_workers: int, num_frames: int, pairs: int) -> list[str]:
    """Bare loops and the ingest in turns."""
    import ray

    from mas_ray.pipelines import session
    from mas_ray.pipelines.ingest import ingest

    bare_s, ours_s = list[float](), list[float]()
    with session.connect():
        assert ray.is_initialized()
        for pair in range(pairs):
            bare_s.append(_time_bare(folder / "corpus", num_workers))
            job = IngestJob(
                root=str(folder / "corpus"),
                output=str(folder / f"dataset-{num_workers}-{pair}"),
                masks=BackgroundMasks(plate="given"),
                workers=Workers(num=num_workers),
            )
            start = time.perf_counter()
            ingest(job)
            ours_s.append(time.perf_counter() - start)
    ratios = sorted(bare / ours for bare, ours in zip(bare_s, ours_s, strict=True))
    ratio = statistics.median(ratios)
    verdict = "" if num_workers == 1 else f"{_TARGET} {'met' if ratio >= _TARGET else 'MISSED'}"
    return [
        str(num_workers),
        f"{num_frames / statistics.median(bare_s):.1f}",
        f"{num_frames / statistics.median(ours_s):.1f}",
        f"{ratio:.2f}",
        f"{ratios[0]:.2f} to {ratios[-1]:.2f}",
        verdict,
    ]


def _time_bare(corpus: Path, num_loops: int) -> float:
    """Seconds until all of several bare loops, started together, are done."""
    command = [sys.executable, __file__, "--bare", str(corpus)]
    loops = [
        subprocess.Popen(
            [*command, str(part), str(num_loops)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # as Ray gives its workers
        )
        for part in range(num_loops)
    ]
    for loop in loops:
        assert loop.stdout is not None
        loop.stdout.readline()  # its imports are done
    start = time.perf_counter()
    for loop in loops:  # all of them, before waiting for the first
        assert loop.stdin is not None
        loop.stdin.write("go\n")
        loop.stdin.close()
    for loop in loops:
        assert loop.wait() == 0
    return time.perf_counter() - start


def _bare_when_told(corpus: Path, part: int, parts: int) -> int:
    cv2.setNumThreads(1)
    print("ready", flush=True)
    sys.stdin.readline()
    with tempfile.TemporaryDirectory() as folder:
        for take in list(takes(corpus))[part::parts]:
            write_rows(Path(folder) / f"{take.take_id}.parquet", _bare_rows(take))
    return 0


def _bare_rows(take: Take, clock: Clock | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a single-view take by the operations of ``ingest.take_rows``, one after the other."""
    timed = clock or _untimed
    video = open_video(take.clips[0].video, max_pixels=10**9, max_frames=10**6)
    num_frames = video.info.num_frames
    with timed("survey (decode small, shots, repeats)"):
        small = (
            (n, image) for n, image in video.small_frames(range(num_frames), size_px=_SURVEY_PX) if image is not None
        )
        survey = survey_clip(small, range(num_frames), num_frames=num_frames, config=_CURATION)
    for shot, instants in enumerate(survey.shots):
        for judged in judge_stability(_masked(take, video, instants, timed), _CURATION):
            number, outcome = judged.item
            if judged.is_stable and not isinstance(outcome, str):
                time_s = float(video.info.times_s[number])
                yield frame_set_row(take.take_id, number, shot=shot, timestamp_s=time_s, views=[outcome])


def _masked(
    take: Take, video: Video, instants: Sequence[int], timed: Clock
) -> Iterator[tuple[tuple[int, Any], MaskShape | None]]:
    """The frames of a shot as rows, or the reasons why they are none."""
    (clip,) = take.clips
    with timed("mask: learn the scene"):
        masker = _masker(take, video, instants)
    frames = iter(video.frames(instants, pixel_format="rgb24"))
    while True:
        with timed("decode"):
            number, image = next(frames, (-1, None))
        if image is None:
            return
        with timed("mask"):
            person = masker(image, number)
        with timed("judge, cut, geodesic, encode"):
            outcome = view_row(
                clip, image, person=person, mask_source="BackgroundMasks", mask_quality=_QUALITY, crop=_CROP
            )
            shape = MaskShape.of(person.mask) if person and not isinstance(outcome, str) else None
        yield (number, outcome), shape


def _masker(take: Take, video: Video, instants: Sequence[int]) -> BackgroundMasker:
    chosen = [instants[i] for i in np.linspace(0, len(instants) - 1, _NUM_PLATE_FRAMES).round().astype(int)]
    sampled = [image for _, image in video.frames(chosen, pixel_format="rgb24") if image is not None]
    plate = cv2.imread(str(take.clips[0].background))
    assert plate is not None
    return BackgroundMasker(sampled, np.ascontiguousarray(plate[..., ::-1]).astype(np.uint8), refine=True)


@contextmanager
def _untimed(step: str) -> Generator[None]:
    yield


def _print_steps(take: Take, folder: Path) -> None:
    """What a frame costs, step by step, in one bare loop; the last steps taken apart on its last frame's mask."""
    seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def clock(step: str) -> Generator[None]:
        start = time.process_time()
        yield
        seconds[step] += time.process_time() - start

    cv2.setNumThreads(1)
    start = time.process_time()
    num_rows = write_rows(folder / "steps.parquet", _bare_rows(take, clock))
    seconds["write, and the rest"] = time.process_time() - start - sum(seconds.values())
    whole = sum(seconds.values())
    rows = [[step, f"{1000 * s / num_rows:.2f}", f"{s / whole:.0%}"] for step, s in seconds.items()]
    print_table("CPU time per step, one bare loop", ["step", "ms/frame", "share"], rows)
    _print_parts(take)


def _print_parts(take: Take) -> None:
    video = open_video(take.clips[0].video, max_pixels=10**9, max_frames=10**6)
    ((_, image),) = video.frames([0], pixel_format="rgb24")
    assert image is not None
    person = _masker(take, video, range(video.info.num_frames))(image, 0)
    assert person is not None
    affine = crop_from_image(person.mask, size_px=_CROP.size_px, margin=_CROP.margin)
    crop, mask = warp_image(image, affine, _CROP.size_px), warp_mask(person.mask, affine, _CROP.size_px)
    distances = geodesic_distances(mask)
    parts: dict[str, Callable[[], object]] = {
        "judge": lambda: reject_reason(person.mask, _QUALITY, image_rgb=image),
        "cut": lambda: (warp_image(image, affine, _CROP.size_px), warp_mask(person.mask, affine, _CROP.size_px)),
        "geodesic distances": lambda: geodesic_distances(mask),
        "encode": lambda: (encode_image(crop), encode_mask(mask), encode_distances(distances)),
    }
    rows = list[list[str]]()
    for name, part in parts.items():
        start = time.process_time()
        for _ in range(20):
            part()
        rows.append([name, f"{1000 * (time.process_time() - start) / 20:.2f}"])
    print_table("of which", ["part", "ms/frame"], rows)


if __name__ == "__main__":
    raise SystemExit(main())
