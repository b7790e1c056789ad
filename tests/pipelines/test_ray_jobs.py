"""``mas-ray submit`` and ``mas-ray jobs`` against a Ray cluster with a token; the client is always another process."""

import json
import os
import secrets
import shutil
import signal
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

import mas_ray
from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.ingest import BackgroundMasks, CropConfig
from mas_ray.config.jobs import IngestJob, TrainJob, Workers
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import write_corpus

HERE = Path(mas_ray.__file__).parents[1]
TOKEN = secrets.token_hex(32)


class _Cluster:
    """One node of two CPUs with a dashboard."""

    def __init__(self, folder: Path) -> None:
        ports = [_free_port() for _ in range(3)]
        self.address = f"http://127.0.0.1:{ports[0]}"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2"]
        command += [f"--dashboard-port={ports[0]}", f"--port={ports[1]}", f"--ray-client-server-port={ports[2]}"]
        command += [f"--temp-dir={folder}", "--object-store-memory=100000000"]
        environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}
        environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(HERE)}
        with (folder / "log").open("wb") as log:
            self._head = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)

    def start(self, *arguments: str, code: Path = HERE, token: str | None = TOKEN) -> subprocess.Popen[str]:
        """A command line of mas-ray, with nothing of the user's configuration."""
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(code)}
        environment |= {"RAY_AUTH_TOKEN": token} if token else {}
        command = [sys.executable, "-m", "mas_ray.cli.main", arguments[0], "--address", self.address, *arguments[1:]]
        if arguments[0] == "jobs":
            command = [*command[:4], arguments[1], "--address", self.address, *arguments[2:]]
        return subprocess.Popen(
            command, env=environment, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *arguments: str, code: Path = HERE, token: str | None = TOKEN) -> tuple[int, str, str]:
        """The status and what was said."""
        process = self.start(*arguments, code=code, token=token)
        out, err = process.communicate(timeout=240)
        return process.returncode, out, err

    def stop(self) -> None:
        """Kill it with all its processes."""
        family = psutil.Process(self._head.pid).children(recursive=True)
        for process in (psutil.Process(self._head.pid), *family):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._head.wait()


@pytest.fixture(scope="module")
def cluster() -> Iterator[_Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="jobs-", dir="/tmp"))  # sockets want short paths
    cluster = _Cluster(folder)
    deadline = time.monotonic() + 120
    while cluster.run("jobs", "list")[0] != 0:
        assert time.monotonic() < deadline, (folder / "log").read_text()
    yield cluster
    cluster.stop()
    shutil.rmtree(folder, ignore_errors=True)


def _job(folder: Path, job) -> list[str]:
    (folder / "job.json").write_text(codec.dumps(job))
    return ["--", "ingest" if isinstance(job, IngestJob) else "train", "--job", str(folder / "job.json")]


def _ingest(folder: Path) -> IngestJob:
    corpus = SyntheticConfig(num_subjects=1, takes_per_subject=1, instants_per_take=4, width_px=128, height_px=128)
    write_corpus(folder / "corpus", corpus)
    return IngestJob(
        root=str(folder / "corpus"),
        output=str(folder / "dataset"),
        masks=BackgroundMasks(plate="given"),
        crop=CropConfig(size_px=96),
        curation=None,
    )


@pytest.mark.slow
@pytest.mark.ray
def test_nobody_submits_without_the_token(cluster, tmp_path):
    job = _ingest(tmp_path)
    for token, message in ((None, "admits only holders of its token"), (secrets.token_hex(32), "does not admit this")):
        status, out, err = cluster.run("submit", *_job(tmp_path, job), token=token)
        assert (status, out) == (1, "")
        assert err.startswith(f"mas-ray submit: {cluster.address}: {message}")
        assert err.count("\n") == 1
    assert not Path(job.output).exists()


@pytest.mark.slow
@pytest.mark.ray
def test_an_ingest_is_submitted_and_followed(cluster, tmp_path):
    job = _ingest(tmp_path)
    status, out, err = cluster.run("submit", "--name", "first", *_job(tmp_path, job))
    assert status == 0, out + err
    assert "4 instants of 1 takes in 1 shards" in out
    assert err.endswith("first: succeeded\n")
    assert (tmp_path / "dataset" / "manifest.json").is_file()
    assert cluster.run("jobs", "logs", "first")[1] == out
    status, _, err = cluster.run("submit", "--name", "first", *_job(tmp_path, job))
    assert status == 1
    assert "--name: the cluster has had a job first already" in err


@pytest.mark.slow
@pytest.mark.ray
def test_what_the_cluster_cannot_hold_does_not_leave(cluster, tmp_path):
    job = replace(_ingest(tmp_path), workers=Workers(num=9))
    status, _, err = cluster.run("submit", "--name", "too-large", *_job(tmp_path, job))
    assert status == 1
    assert "workers: ingest asks for 9 workers with 9 CPUs together, Ray has 2; --autoscaling" in err
    assert "too-large" not in cluster.run("jobs", "list")[1]


@pytest.mark.slow
@pytest.mark.ray
def test_the_code_travels_if_it_shall_and_a_failure_is_the_exit_status(cluster, tmp_path):
    package = tmp_path / "code" / "mas_ray"
    shutil.copytree(HERE / "mas_ray", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "__init__.py").write_text('__version__ = "99.9"\n')
    job = TrainJob(manifest=str(tmp_path / "manifest.json"), storage=str(tmp_path / "runs"))
    missing = f"mas-ray train: {tmp_path / 'manifest.json'}: no such manifest"
    for options, runs in (
        ((), f"mas-ray {mas_ray.__version__} runs here, the job comes from 99.9"),
        (("--with-code",), ""),
    ):
        status, out, err = cluster.run("submit", *options, *_job(tmp_path, job), code=tmp_path / "code")
        assert status == 1, out + err
        assert missing in out
        assert runs in out
        assert ("runs here" in out) == bool(runs)
        assert err.endswith(": failed\n")


@pytest.mark.slow
@pytest.mark.ray
def test_a_job_outlives_who_follows_it_and_ends_when_it_is_stopped(cluster, tmp_path, tiny_dataset):
    stage = replace(cpu_cascade().stages[0], learning_rates=((500, 2e-3),))
    detector = replace(cpu_cascade().detector, width=8, head_width=16)
    job = TrainJob(
        manifest=str(tiny_dataset.manifest),
        storage=str(tmp_path / "runs"),
        cascade=replace(cpu_cascade(), stages=(stage,), detector=detector, steps_per_epoch=4),
    )
    follower = cluster.start("submit", "--name", "long", *_job(tmp_path, job))
    assert follower.stdout is not None
    assert any("epoch" in line for line in follower.stdout)
    follower.send_signal(signal.SIGINT)
    _, err = follower.communicate(timeout=60)
    assert follower.returncode == 130
    assert "long goes on" in err
    assert _listed(cluster)["long"]["status"] == "running"
    status, _, err = cluster.run("jobs", "stop", "long")
    assert (status, err) == (0, "long: stopped\n")
    assert cluster.run("jobs", "logs", "long", "--follow")[0] == 130
    assert _listed(cluster)["long"] | {"started_ms": 0, "ended_ms": 0} == {
        "name": "long",
        "verb": "train",
        "code_version": mas_ray.__version__,
        "status": "stopped",
        "started_ms": 0,
        "ended_ms": 0,
        "exit_status": 130,
    }
    status, _, err = cluster.run("jobs", "stop", "nobody")
    assert status == 1
    assert "nobody: no such job" in err


def _listed(cluster: _Cluster) -> dict[str, dict[str, object]]:
    status, out, err = cluster.run("jobs", "list", "--json")
    assert status == 0, err
    return {job["name"]: job for job in json.loads(out)}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
