import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mas_ray.config import codec
from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.config.jobs import TrainJob, Workers
from mas_ray.tracking.spool import read_spool

EPOCHS = 8
ENVIRONMENT = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}


def _cascade() -> CascadeConfig:
    stage = replace(cpu_cascade().stages[0], learning_rates=((EPOCHS, 2e-3),), num_direct_only_steps=10)
    detector = replace(cpu_cascade().detector, width=8, head_width=16)
    return replace(cpu_cascade(), stages=(stage,), detector=detector, steps_per_epoch=8)


class _Nodes:
    """Ray nodes of one CPU each on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started = list[subprocess.Popen[bytes]]()
        self._seen = dict[int, psutil.Process]()
        port = _free_port()
        self.address = f"127.0.0.1:{port}"
        self.start(
            "--head",
            "--include-dashboard=false",
            f"--port={port}",
            f"--temp-dir={folder}",
            f"--ray-client-server-port={_free_port()}",
        )

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a node; it is part of the cluster some seconds later."""
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options]
        command += ["--num-cpus=1", "--object-store-memory=100000000", "--memory=2000000000"]
        with (self._folder / f"node-{len(self._started)}.log").open("wb") as log:
            node = subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=log)
        self._started.append(node)
        return node

    def join(self) -> subprocess.Popen[bytes]:
        """Start a node beside the head."""
        return self.start(f"--address={self.address}")

    def family(self, node: subprocess.Popen[bytes]) -> list[psutil.Process]:
        """All processes of a node."""
        found = list[psutil.Process]()
        with suppress(psutil.NoSuchProcess):
            found = [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]
        self._seen |= {process.pid: process for process in found}
        return found

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """Kill a node's processes without a word to anyone."""
        for process in self.family(node):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        node.wait()

    def stop(self) -> None:
        """Kill all that is left."""
        for node in self._started:
            self.kill(node)
        for process in self._seen.values():
            with suppress(psutil.NoSuchProcess):  # psutil knows a process that has another one's number
                process.kill()


@pytest.fixture
def nodes() -> Iterator[_Nodes]:
    folder = Path(tempfile.mkdtemp(prefix="nodes-", dir="/tmp"))  # sockets want short paths
    nodes = _Nodes(folder)
    yield nodes
    nodes.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_stage_goes_on_when_a_lost_node_is_replaced(tmp_path, tiny_dataset, nodes):
    """Two workers on two nodes; one node dies in the midst of a stage, and another one joins."""
    job = TrainJob(
        manifest=str(tiny_dataset.manifest),
        storage=str(tmp_path / "runs"),
        cascade=_cascade(),
        workers=Workers(num=2),
    )
    (tmp_path / "job.json").write_text(codec.dumps(job))
    _wait_until(lambda: _num_cpus(nodes.address) == 1, 120)
    lost = nodes.join()
    _wait_until(lambda: _num_cpus(nodes.address) == 2, 120)
    run = tmp_path / "runs" / job.name
    spool = run / "stages" / "0-torso" / "metrics.jsonl"
    with (tmp_path / "log.txt").open("wb") as log:
        training = subprocess.Popen(
            [sys.executable, "-m", "mas_ray.cli.main", "train", "--job", str(tmp_path / "job.json")],
            env={**ENVIRONMENT, "RAY_ADDRESS": nodes.address},
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until(lambda: len(read_spool(spool)) >= 2 or training.poll() is not None, 240)
        assert any("RayTrainWorker" in "".join(process.cmdline()) for process in nodes.family(lost))
        nodes.kill(lost)
        num_lines = len(spool.read_text().splitlines())
        assert num_lines < EPOCHS
        nodes.join()
        assert training.wait(300) == 0, (tmp_path / "log.txt").read_text()[-3000:]
    finally:
        training.kill()
        training.wait()

    assert [epoch["epoch"] for epoch in read_spool(spool)] == list(range(EPOCHS))
    assert len(spool.read_text().splitlines()) in (EPOCHS, EPOCHS + 1), "more than one epoch was repeated"
    checkpoint = json.loads((run / "cascade.json").read_text())["checkpoint"]
    assert (run / checkpoint / "FORMAT").is_file()


def _num_cpus(address: str) -> int:
    """CPUs of a cluster as another process sees them; 0 as long as nobody answers."""
    code = f"import ray; ray.init({address!r}, log_to_driver=False, logging_level='ERROR')"
    code += "; print(int(ray.cluster_resources().get('CPU', 0)))"
    result = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    return int(result.stdout.split()[-1]) if result.returncode == 0 else 0


def _wait_until(condition, seconds) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
