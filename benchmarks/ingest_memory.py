"""Peak memory of `mas-ray ingest` while the corpus grows tenfold.

    python benchmarks/ingest_memory.py --clips 20

Resident memory of the driver and of each process that Ray runs for it, looked at twice a second; shared pages count in
every process that has them, so these are upper bounds. Bounded memory shows in the ratios: near 1, however many clips.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import psutil
from measure import print_table

from mas_ray.config import codec
from mas_ray.config.ingest import ProvidedMasks
from mas_ray.config.jobs import IngestJob, Workers
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import write_corpus

_MOST_GROWTH = 1.2
_GROWTH = 10
_LARGEST_MB = 1024
_ROLES = {"MapWorker": "take worker", "raylet": "raylet", "gcs_server": "gcs", "decoder_child": "decoder"}


def main() -> int:
    """Measure, and print the peaks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--frames", type=int, default=48)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mas-ray-memory-") as name:
        few = _peaks_mb(Path(name) / "few", flags.clips, flags.frames)
        many = _peaks_mb(Path(name) / "many", _GROWTH * flags.clips, flags.frames)
    rows = [
        [role, f"{few[role]:.0f}", f"{many[role]:.0f}", f"{many[role] / few[role]:.2f}", _verdict(role, few, many)]
        for role in sorted(few.keys() & many.keys(), key=lambda role: -many[role])
    ]
    columns = ["process", f"{flags.clips} clips, MB", f"{_GROWTH * flags.clips} clips, MB", "ratio", "target"]
    print_table("Peak resident memory", columns, rows)
    return 0


def _verdict(role: str, few: dict[str, float], many: dict[str, float]) -> str:
    if role not in ("driver", "take worker"):
        return ""
    met = many[role] <= _MOST_GROWTH * few[role] and many[role] <= _LARGEST_MB
    return f"{_MOST_GROWTH} and {_LARGEST_MB} MB: {'met' if met else 'MISSED'}"


def _peaks_mb(folder: Path, num_clips: int, num_frames: int) -> dict[str, float]:
    config = SyntheticConfig(
        num_subjects=num_clips, takes_per_subject=1, instants_per_take=num_frames, num_cameras=1, write_masks=True
    )
    write_corpus(folder / "corpus", config)
    job = IngestJob(
        root=str(folder / "corpus"), output=str(folder / "dataset"), masks=ProvidedMasks(), workers=Workers(num=2)
    )
    (folder / "job.json").write_text(codec.dumps(job))
    command = [sys.executable, "-m", "mas_ray.cli.main", "ingest", "--job", str(folder / "job.json")]
    peaks: defaultdict[str, float] = defaultdict(float)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for role, megabytes in _resident_mb(process.pid):
                peaks[role] = max(peaks[role], megabytes)
            time.sleep(0.5)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: status {process.returncode}")
    return peaks


def _resident_mb(driver: int) -> list[tuple[str, float]]:
    """Role and resident memory of the driver and of all its descendants."""
    found: list[tuple[str, float]] = []
    try:
        family = [psutil.Process(driver), *psutil.Process(driver).children(recursive=True)]
    except psutil.NoSuchProcess:
        return found
    for process in family:
        try:
            line, megabytes = " ".join(process.cmdline()), process.memory_info().rss / 2**20
        except psutil.Error:
            continue
        role = "driver" if process.pid == driver else next((r for mark, r in _ROLES.items() if mark in line), "other")
        found.append((role, megabytes))
    return found


if __name__ == "__main__":
    raise SystemExit(main())
