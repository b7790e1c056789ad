"""Kill an ingest again and again, and see that it ends in the same dataset.

    python tests/series/kill_ingest.py --driver-kills 5 --worker-kills 5

One ingest is left alone; another one of the same corpus has its driver, and later its workers, killed by SIGKILL at
random moments until all kills are done, and then runs to its end. Both datasets must be equal, byte for byte. The suite
has one kill of each (tests/pipelines/test_ingest.py); this is the long series.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil

from mas_ray.config import codec
from mas_ray.config.ingest import BackgroundMasks, CropConfig
from mas_ray.config.jobs import IngestJob, Workers
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import write_corpus

_CORPUS = SyntheticConfig(num_subjects=4, takes_per_subject=3, instants_per_take=40, num_cameras=2)
_LONGEST_S = 600.0


def main() -> int:
    """Run the series; status 1 if the datasets differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--driver-kills", type=int, default=5)
    parser.add_argument("--worker-kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    moments = random.Random(flags.seed)
    with tempfile.TemporaryDirectory(prefix="mas-ray-kills-") as name:
        folder = Path(name)
        write_corpus(folder / "corpus", _CORPUS)
        calm = IngestJob(
            root=str(folder / "corpus"),
            output=str(folder / "calm"),
            masks=BackgroundMasks(plate="given"),
            crop=CropConfig(size_px=64),
            workers=Workers(num=2),
        )
        start = time.monotonic()
        assert _start(calm, folder).wait(_LONGEST_S) == 0
        whole_s = time.monotonic() - start
        print(f"undisturbed: {whole_s:.0f} s")
        stormy = replace(calm, output=str(folder / "stormy"))
        kills = ["driver"] * flags.driver_kills + ["worker"] * flags.worker_kills
        while kills:
            process = _start(stormy, folder)
            while kills and process.poll() is None:
                _wait(process, moments.uniform(0.3, 0.7) * whole_s if kills[0] == "driver" else moments.uniform(2, 6))
                if process.poll() is None and (killed := _kill(process, kills[0])):
                    print(f"  killed {kills.pop(0)} ({killed}), {_num_committed(stormy)} takes committed")
                    if killed.startswith("driver"):
                        break
            process.wait(_LONGEST_S)
            if (Path(stormy.output) / "manifest.json").is_file() and kills:
                _start_again(stormy)
        status = _start(stormy, folder).wait(_LONGEST_S)
        equal = status == 0 and _snapshot(calm) == _snapshot(stormy)
        print(f"last run: status {status}; datasets {'EQUAL' if equal else 'DIFFER'}")
    return 0 if equal else 1


def _start(job: IngestJob, folder: Path) -> subprocess.Popen[bytes]:
    record = folder / f"{Path(job.output).name}.json"
    record.write_text(codec.dumps(job))
    command = [sys.executable, "-m", "mas_ray.cli.main", "ingest", "--job", str(record)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def _kill(process: subprocess.Popen[bytes], what: str) -> str | None:
    """Kill the driver, or one of its workers that ingests; None where there is no worker (yet)."""
    if what == "driver":
        process.send_signal(signal.SIGKILL)
        return f"driver {process.pid}"
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if child.is_running() and "MapWorker" in "".join(child.cmdline())
    ]
    if not workers:
        return None
    workers[0].send_signal(signal.SIGKILL)
    return f"worker {workers[0].pid}"


def _num_committed(job: IngestJob) -> int:
    return len(list(Path(job.output).glob("work/*/*/commit.json")))


def _start_again(job: IngestJob) -> None:
    """A run that finished before all kills were done: throw half of its takes away."""
    (Path(job.output) / "manifest.json").unlink()
    for number, record in enumerate(sorted(Path(job.output).glob("work/*/*/commit.json"))):
        if number % 2:
            record.unlink()


def _snapshot(job: IngestJob) -> dict[str, bytes]:
    """What readers see of a dataset."""
    output = Path(job.output)
    files = [path for path in output.rglob("*") if path.is_file() and "work" not in path.relative_to(output).parts]
    return {str(path.relative_to(output)): path.read_bytes() for path in files if path.name != "job.json"}


if __name__ == "__main__":
    raise SystemExit(main())
