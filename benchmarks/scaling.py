"""How ingest scales over nodes: its own pool of workers, whose takes are replaced by a sleep.

    python benchmarks/scaling.py --nodes 1 2 4 8 16 --takes-per-node 12 --sleep-s 2

The nodes are Ray's (``ray.cluster_utils``), all on this machine, with one logical CPU each, so that one worker runs on
each; a take sleeps for about as long as a GPU would need for a short clip, so that sixteen workers do not fight for two
cores. What remains is what grows with the cluster: dealing takes, receipts, counting, the driver. Weak scaling: each
node has so many takes. Throughput is that of the time in which every worker is at work, from the last worker's first
finished take to the last take's beginning; the driver's CPU time and memory are those of its process from call to
return. Minutes, and some gigabytes of memory for sixteen nodes.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # read when Ray is imported; the nodes listen on loopback alone

import psutil
import ray
from measure import print_table
from ray.cluster_utils import Cluster

from mas_ray.config.ingest import CropConfig, DecodeLimits, FrameSampling, MaskQualityConfig, ProvidedMasks
from mas_ray.config.jobs import Workers
from mas_ray.corpora.take import Take
from mas_ray.ingest.commit import CommitRecord
from mas_ray.ingest.take_rows import TakeSettings
from mas_ray.ingest.take_work import PlannedTake
from mas_ray.ingest.tally import Tally
from mas_ray.pipelines.ingest_workers import ingest_on_ray
from mas_ray.shards.manifest import IngestParameters

_TARGET = 0.9
_SETTINGS = TakeSettings(
    parameters=IngestParameters(
        masks=ProvidedMasks(), mask_quality=MaskQualityConfig(), crop=CropConfig(), sampling=FrameSampling()
    ),
    masks=ProvidedMasks(),
    limits=DecodeLimits(),
    session="scaling",
    max_attempts=3,
    num_threads=1,
    selfie_model=None,
)


@dataclass(frozen=True, kw_only=True)
class Slept:
    """One take: who had it, and when."""

    worker: int
    start_s: float
    end_s: float


def main() -> None:
    """Grow a cluster, measure at each size, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--takes-per-node", type=int, default=12)
    parser.add_argument("--sleep-s", type=float, default=2.0)
    flags = parser.parse_args()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    rows: list[list[str]] = []
    per_node = 0.0
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        for num_nodes in flags.nodes:
            while len(cluster.worker_nodes) < num_nodes:
                cluster.add_node(num_cpus=1, object_store_memory=80_000_000, include_dashboard=False)
            cluster.wait_for_nodes()
            row, throughput = _measure(num_nodes, num_nodes * flags.takes_per_node, flags.sleep_s)
            per_node = per_node or throughput / num_nodes
            rows.append([*row, f"{throughput / num_nodes / per_node:.2f}", f"{_TARGET:.2f}"])
    finally:
        ray.shutdown()
        cluster.shutdown()
    columns = ["nodes", "takes", "takes/s", "first take after s", "driver CPU s", "driver MB", "of linear", "target"]
    print_table(f"takes that sleep {flags.sleep_s:g} s, {flags.takes_per_node} to a node", columns, rows)


def _measure(num_nodes: int, num_takes: int, sleep_s: float) -> tuple[list[str], float]:
    """A row of the table but its last columns, and takes per second."""
    driver = psutil.Process()
    before, start_s = driver.cpu_times(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mas-ray-scaling-") as folder:
        slept = run_pool(num_nodes, num_takes, sleep_s, Path(folder))
    after = driver.cpu_times()
    cpu_s = after.user + after.system - before.user - before.system
    throughput = steady_throughput(slept)
    first_s = min(take.start_s for take in slept) - start_s
    megabytes = driver.memory_info().rss / 2**20
    row = [num_nodes, num_takes, f"{throughput:.2f}", f"{first_s:.1f}", f"{cpu_s:.1f}", f"{megabytes:.0f}"]
    return [str(cell) for cell in row], throughput


def run_pool(num_workers: int, num_takes: int, sleep_s: float, folder: Path) -> list[Slept]:
    """Let ingest's pool deal takes that sleep; what each worker did is told through files of ``folder``."""
    take = Take(take_id="asleep", subject="s", action="a", clips=())
    todo = [PlannedTake(take=take, folder=folder / str(i), content=str(i), footage=str(i)) for i in range(num_takes)]
    ingest_on_ray(
        todo,
        _SETTINGS,
        Workers(num=num_workers),
        most_empty=num_takes,
        watch=lambda tally: None,
        work=functools.partial(_sleep, sleep_s),
    )
    return [Slept(**_numbers(path.read_text())) for path in folder.iterdir()]


def _sleep(
    sleep_s: float, item: PlannedTake, settings: TakeSettings, *, advance: Callable[[Tally], None]
) -> CommitRecord:
    start_s = time.monotonic()  # one clock for all processes of a machine
    time.sleep(sleep_s)
    advance(Tally(planned=1, instants=1, accepted=1))
    item.folder.write_text(f"{os.getpid()} {start_s} {time.monotonic()}")
    return CommitRecord(take_id=item.take.take_id, content=item.content, sha256="", instants=(0,), rejects=())


def _numbers(text: str) -> dict[str, float]:
    worker, start_s, end_s = text.split()
    return {"worker": int(worker), "start_s": float(start_s), "end_s": float(end_s)}


def steady_throughput(slept: list[Slept]) -> float:
    """Takes per second while every worker is at work.

    Raises:
        ValueError: There is no such time: the takes are too few.
    """
    workers = {take.worker for take in slept}
    begin_s = max(min(take.end_s for take in slept if take.worker == worker) for worker in workers)
    end_s = max(take.start_s for take in slept)
    ended = sum(begin_s < take.end_s <= end_s for take in slept)
    if not ended:
        raise ValueError(f"{len(slept)} takes are too few for {len(workers)} workers")
    return ended / (end_s - begin_s)


if __name__ == "__main__":
    main()
