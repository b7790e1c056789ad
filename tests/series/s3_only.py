"""From video to poses with nothing but a store: ingest, train, a killed driver, another host, predict, show.

    python tests/series/s3_only.py

An S3 server and an MLflow server listen on this machine. Every command is given ``s3://`` addresses alone, in a working
directory and with a home that are empty. Training's driver is killed by SIGKILL in the midst of its second stage, which
the first one teaches; its home is deleted, so that whoever goes on is another host, which waits for the dead driver's
lease. Then the same is done on a disk, undisturbed, and both must have equal rows, losses, weights and poses.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import torch
from moto.server import ThreadedMotoServer

from mas_ray.config import codec
from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.config.ingest import BackgroundMasks, CropConfig, SplitBySubject
from mas_ray.config.jobs import IngestJob, TrainJob, Workers
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import write_corpus
from mas_ray.pipelines.lease import LEASE_S
from mas_ray.pipelines.run_folder import StageResult, read_cascade_result
from mas_ray.shards.location import Location, files_below, location, names_in, open_parquet, upload
from mas_ray.shards.manifest import read_manifest
from mas_ray.shards.transfer import local_copy
from mas_ray.shards.write import write_text
from mas_ray.tracking.spool import read_spool

_LONGEST_S = 900.0
_NUM_REPORTS = 3
_VOLATILE = ("images_per_s", "data_wait_share", "time_ms", "system/")


@dataclass(frozen=True, kw_only=True)
class _Host:
    """Where commands run: a working directory and a home of its own."""

    folder: Path
    environment: dict[str, str]

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command; what it says is in ``log.txt``."""
        (self.folder / "work").mkdir(parents=True, exist_ok=True)
        (self.folder / "home").mkdir(exist_ok=True)
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "mas_ray.cli.main", *arguments],
                cwd=self.folder / "work",
                env={**self.environment, "HOME": str(self.folder / "home")},
                stdout=log,
                stderr=log,
            )

    def run(self, *arguments: str) -> None:
        """Run a command to its end."""
        begun_s = time.monotonic()
        status = self.start(*arguments).wait(_LONGEST_S)
        if status != 0:
            raise SystemExit(f"{(self.folder / 'log.txt').read_text()[-3000:]}\n{arguments}: status {status}")
        print(f"  {arguments[0]}: {time.monotonic() - begun_s:.0f} s", flush=True)


def main() -> int:
    """Run the series; status 1 if anything differs."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="mas-ray-s3-only-") as name, _s3() as settings:
        folder = Path(name)
        environment = {key: value for key, value in os.environ.items() if key not in ("XDG_CACHE_HOME", "RAY_ADDRESS")}
        os.environ.update(settings)
        write_corpus(folder / "corpus", _CORPUS)
        _upload(folder / "corpus", location("s3://bucket/corpus"))
        with _mlflow(folder / "mlflow") as tracking_uri:
            host = _Host(folder=folder / "host", environment={**environment, **settings})
            print("in the store")
            _ingest(host, location("s3://bucket"))
            _train(host, location("s3://bucket"), tracking_uri)
            _use(host, location("s3://bucket"))
        disk = _Host(folder=folder / "disk-host", environment=environment)
        print("on a disk")
        (folder / "disk").mkdir()
        (folder / "corpus").rename(folder / "disk" / "corpus")
        _ingest(disk, folder / "disk")
        _train(disk, folder / "disk", None)
        _use(disk, folder / "disk")
        faults = [*_differences(folder / "disk", location("s3://bucket")), *_left_behind(host)]
    print(*faults, "DIFFERENT" if faults else "EQUAL", sep="\n")
    return int(bool(faults))


_CORPUS = SyntheticConfig(num_subjects=3, takes_per_subject=1, instants_per_take=16, fps=8, width_px=128, height_px=128)


def _cascade() -> CascadeConfig:
    """Two short stages; the second one is taught by the first."""
    torso, _, limbs = cpu_cascade().stages
    windows: dict[str, Any] = {"num_anchor_only_steps": 12, "mask_ramp_steps": 8, "num_direct_only_steps": 16}
    stages = (
        replace(torso, learning_rates=((3, 2e-3),), **windows),
        replace(limbs, learning_rates=((12, 2e-3),), num_anchor_steps=48, **windows),
    )
    return replace(cpu_cascade(), stages=stages, steps_per_epoch=8)


def _ingest(host: _Host, place: Location) -> None:
    job = IngestJob(
        root=str(place / "corpus"),
        output=str(place / "dataset"),
        masks=BackgroundMasks(plate="given"),
        crop=CropConfig(size_px=96),
        curation=None,
        split=SplitBySubject(validation=("s01",), test=("s02",)),
        workers=Workers(num=2),
    )
    write_text(place / "ingest.json", codec.dumps(job))
    host.run("ingest", "--job", str(place / "ingest.json"))
    host.run("verify", str(place / "dataset"))


def _train(host: _Host, place: Location, tracking_uri: str | None) -> None:
    """Train; with a tracking server the driver is killed once, and another host goes on."""
    job = TrainJob(
        manifest=str(place / "dataset" / "manifest.json"),
        storage=str(place / "runs"),
        cascade=_cascade(),
        tracking_uri=tracking_uri,
    )
    write_text(place / "train.json", codec.dumps(job))
    command = ("train", "--job", str(place / "train.json"))
    if tracking_uri is not None:
        _kill_driver(host.start(*command), place / "runs" / job.name / "stages" / "1-limbs", host)
        shutil.rmtree(host.folder / "home")
        time.sleep(LEASE_S)
    host.run(*command)


def _kill_driver(process: subprocess.Popen[bytes], stage: Location, host: _Host) -> None:
    family = list[psutil.Process]()
    try:
        while len(names_in(stage / "reports")) < _NUM_REPORTS:
            if process.poll() is not None:
                raise SystemExit(f"{(host.folder / 'log.txt').read_text()[-3000:]}\nit ended before it could be killed")
            time.sleep(0.1)
        family = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.kill()
        process.wait()
        for orphan in psutil.wait_procs(family, timeout=10)[1]:
            orphan.kill()
    if "stage.json" in names_in(stage):
        raise SystemExit("the stage was over before it could be killed")
    print(f"  killed the driver after {len(names_in(stage / 'reports'))} epochs of the second stage", flush=True)


def _use(host: _Host, place: Location) -> None:
    with local_copy(place / "runs" / "cascade" / "cascade.json") as file:
        checkpoint = place / "runs" / "cascade" / read_cascade_result(file.parent).checkpoint
    manifest, corpus = str(place / "dataset" / "manifest.json"), str(place / "corpus")
    output = str(place / "predictions")
    host.run(
        *("predict", "--checkpoint", str(checkpoint), "--manifest", manifest),
        *("--corpus-root", corpus, "--output", output),
    )
    host.run("show", str(place / "runs" / "cascade"))
    host.run("show", str(place / "dataset"))


def _differences(disk: Path, store: Location) -> Iterator[str]:
    """What the store does not have as the disk has it."""
    ours, theirs = (read_manifest(place / "dataset" / "manifest.json") for place in (disk, store))
    if (ours.rows_sha256, ours.shards) != (theirs.rows_sha256, theirs.shards):
        yield "the datasets' rows differ"
    for stage in ("0-torso", "1-limbs"):
        where = f"runs/cascade/stages/{stage}"
        with local_copy(store / where / "metrics.jsonl") as spool:
            if _trace(spool) != _trace(disk / where / "metrics.jsonl"):
                yield f"{stage}: the losses differ"
        chosen = codec.loads(StageResult, (disk / where / "stage.json").read_text()).checkpoint.rpartition("/")[2]
        with local_copy(store / where / chosen / "model.pt") as model:
            if not model.is_file():
                yield f"{stage}: another checkpoint than {chosen} was chosen"
            elif not _equal(torch.load(model), torch.load(disk / where / chosen / "model.pt")):
                yield f"{stage}: the weights differ"
    with open_parquet(store / "predictions" / "poses.parquet") as poses:
        if not poses.read().equals(pq.read_table(disk / "predictions" / "poses.parquet")):
            yield "the poses differ"
    if names_in(store / "predictions" / "overlays") != names_in(disk / "predictions" / "overlays"):
        yield "the overlays differ"


def _left_behind(host: _Host) -> Iterator[str]:
    """What was written elsewhere than in the store and below the cache folder. MLflow notes its telemetry."""
    for path, _ in files_below(host.folder / "work"):
        yield f"in the working directory: {path}"
    for path, _ in files_below(host.folder / "home"):
        name = Path(str(path)).relative_to(host.folder / "home").as_posix()
        if not name.startswith((".cache/mas-ray/", ".config/mlflow/")):
            yield f"in the home: {path}"


def _trace(spool: Path) -> list[dict[str, Any]]:
    return [{name: v for name, v in epoch.items() if not name.startswith(_VOLATILE)} for epoch in read_spool(spool)]


def _equal(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(_equal(ours[name], theirs[name]) for name in ours)
    return torch.equal(ours, theirs)


@contextmanager
def _s3() -> Iterator[dict[str, str]]:
    """An S3 server with an empty bucket; gives the environment to reach it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    pafs.S3FileSystem(
        access_key="test",
        secret_key="test",
        endpoint_override=f"{host}:{port}",
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
    ).create_dir("bucket")
    try:
        yield settings
    finally:
        server.stop()


@contextmanager
def _mlflow(folder: Path) -> Iterator[str]:
    """An MLflow server with a disk of its own; gives its address."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log.txt").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while not _answers(f"{address}/health"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit((folder / "log.txt").read_text()[-2000:])
            time.sleep(0.5)
        yield address
    finally:
        family = psutil.Process(server.pid).children(recursive=True)
        server.terminate()
        for process in psutil.wait_procs([psutil.Process(server.pid), *family], timeout=30)[1]:
            process.kill()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _upload(folder: Path, target: Location) -> None:
    assert not isinstance(target, Path)
    for file in folder.rglob("*"):
        if file.is_file():
            upload(file, target / file.relative_to(folder).as_posix())


if __name__ == "__main__":
    raise SystemExit(main())
