"""How long `mas-ray ingest` takes on a corpus that is all ingested, and what one more clip costs then.

    python benchmarks/ingest_again.py --clips 100000

The clips are files of a few bytes, and a stand-in commits two rows for each instead of decoding it; everything else is
the real thing: listing, hashes, records, shards, manifest, and then the verb itself, twice: nothing may be left to do.
Half an hour and some gigabytes of disk for a hundred thousand clips; the two figures at the end are what counts.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import pyarrow as pa
from measure import print_table

from mas_ray.config import codec
from mas_ray.config.ingest import ProvidedMasks
from mas_ray.config.jobs import IngestJob, Workers
from mas_ray.ingest import commit
from mas_ray.ingest.take_rows import TakeSettings
from mas_ray.ingest.take_work import PlannedTake
from mas_ray.ingest.tally import Tally
from mas_ray.pipelines import ingest as pipeline
from mas_ray.shards.manifest import file_sha256
from mas_ray.shards.reject_samples import write_reject_samples
from mas_ray.shards.schema import FRAME_SET
from mas_ray.shards.write import write_tables

_TARGET_S = 15.0
_VIEW = {
    "name": "view",
    "image": b"image",
    "mask": b"mask",
    "geodesic_distance": b"distance",
    "mask_source": "ProvidedMasks",
    "mask_score": 1.0,
    "crop_from_image": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    "calibrated": False,
    "K": [0.0] * 9,
    "R": [0.0] * 9,
    "t_mm": [0.0] * 3,
}


def main() -> None:
    """Make the corpus and its dataset, and run the verb on it again."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where to work, to keep what was made for another time")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mas-ray-again-") if flags.folder is None else nullcontext() as scratch:
        folder = Path(scratch or flags.folder)
        job = IngestJob(root=str(folder / "corpus"), output=str(folder / "dataset"), masks=ProvidedMasks())
        _write_clips(Path(job.root), range(flags.clips))
        start_s = time.monotonic()
        _ingest(job)
        print(f"{flags.clips} clips ingested by a stand-in in {time.monotonic() - start_s:.0f} s", flush=True)
        rows = [["again, nothing to do", *_run(job, folder), f"{_TARGET_S:g}"] for _ in range(2)]
        print_table(f"{flags.clips} clips", ["mas-ray ingest", "wall s", "CPU s", "target, wall s"], rows)


def _write_clips(root: Path, numbers: Sequence[int]) -> None:
    for number in numbers:
        path = root / f"{number // 1000:03d}" / f"clip{number:06d}.mp4"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"clip {number}")


def _ingest(job: IngestJob) -> None:
    """``ingest`` without Ray and without decoding; nothing is synced, for nothing of it has to outlive the machine."""
    with (
        mock.patch.object(pipeline, "ingest_on_ray", _commit_all),
        mock.patch.object(pipeline.session, "connect", nullcontext),
        mock.patch.object(pipeline.session, "require"),
        mock.patch.object(os, "fsync"),
    ):
        pipeline.ingest(job)


def _commit_all(
    todo: Sequence[PlannedTake],
    settings: TakeSettings,
    workers: Workers,
    *,
    most_empty: int,
    watch: Callable[[Tally], None],
) -> None:
    for item in todo:
        take_id, part = item.take.take_id, commit.part_path(item.folder)
        lines = [
            {"take_id": take_id, "instant": i, "shot": 0, "timestamp_s": i / 25, "views": [_VIEW]} for i in range(2)
        ]
        write_tables(part, [pa.Table.from_pylist(lines, schema=FRAME_SET)])
        write_reject_samples(commit.samples_path(item.folder), [])
        record = commit.CommitRecord(
            take_id=take_id, content=item.content, sha256=file_sha256(part), instants=(0, 1), rejects=()
        )
        commit.write_record(item.folder, record)


def _run(job: IngestJob, folder: Path) -> tuple[str, str]:
    """Wall-clock and CPU seconds of the verb in a process of its own."""
    (folder / "job.json").write_text(codec.dumps(job))
    before, start_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "mas_ray.cli.main", "ingest", "--job", str(folder / "job.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if "nothing to do" not in done.stderr:
        raise SystemExit(f"it did something: {done.stderr}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{time.monotonic() - start_s:.1f}", f"{cpu_s:.1f}"


if __name__ == "__main__":
    main()
