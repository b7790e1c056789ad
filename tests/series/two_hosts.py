"""Two hosts with addresses of their own, a token, and a link that is cut while a stage trains.

    sudo python tests/series/two_hosts.py

Needs Linux, root and iproute2: the hosts are network namespaces on a bridge, each with its own `ray start`, and a
supervisor that starts it again when it ends. From outside of both, `mas-ray submit` runs ingest and a training of two
workers, one per host, twice: once in peace, once with the second host's link cut in mid-stage until the cluster has
given it up, whereupon its raylet ends itself. Without the token, and with another one, nothing is taken. Status 0 if
each job ended with status 0 and both trainings told the same losses (to a relative 1e-6: two workers). The suite has a
smaller form of it (tests/pipelines/test_two_nodes.py, tests/pipelines/test_ray_jobs.py).
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.ingest import BackgroundMasks, CropConfig, SplitBySubject
from mas_ray.config.jobs import IngestJob, TrainJob, Workers
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import write_corpus
from mas_ray.tracking.spool import read_spool

_BRIDGE, _PREFIX = "masray0", "10.77.0"
_HEAD, _SECOND = f"{_PREFIX}.2", f"{_PREFIX}.3"
_DASHBOARD = f"http://{_HEAD}:8265"
_EPOCHS, _CUT_AFTER = 8, 3
_TOLERANCE = 1e-6
_COMPARED = ("loss/", "gradient_norm", "validation/")
_LONGEST_S = 600.0


def main() -> int:
    """Build the hosts, run the jobs, cut the link, compare."""
    if os.geteuid() != 0:
        raise SystemExit("needs root, for network namespaces")
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="two-hosts-", dir="/tmp"))  # Ray's sockets want short paths
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        token = secrets.token_hex(32)
        stack.enter_context(_bridge())
        for name, address in (("masray-a", _HEAD), ("masray-b", _SECOND)):
            stack.enter_context(_host(name, address))
        head = ["--head", "--port=6379", f"--dashboard-host={_HEAD}", f"--temp-dir={folder}/a"]
        stack.enter_context(_Supervisor("masray-a", _HEAD, head, token, folder))
        second = stack.enter_context(_Supervisor("masray-b", _SECOND, [f"--address={_HEAD}:6379"], token, folder))
        _wait("both hosts", lambda: _num_cpus(token) == 2)
        return _run_jobs(folder, token, second)


def _run_jobs(folder: Path, token: str, second: _Supervisor) -> int:
    ingest, calm = _jobs(folder)
    for name, other in (("without a token", {}), ("with another token", {"RAY_AUTH_TOKEN": secrets.token_hex(32)})):
        refused = _mas_ray(_write(folder, ingest), environment=other)
        _say(f"submission {name}: status {refused.returncode}: {refused.stderr.strip()}")
        if refused.returncode != 1 or Path(ingest.output).exists():
            return 1
    cut = replace(calm, name="cut")
    statuses = [_submit(folder, job, token) for job in (ingest, calm)]
    disturbance = threading.Thread(target=_cut_and_mend, args=(_spool(cut), second, token), daemon=True)
    disturbance.start()
    statuses.append(_submit(folder, cut, token))
    disturbance.join()
    _say(_mas_ray_jobs(token))
    difference = _difference(read_spool(_spool(calm)), read_spool(_spool(cut)))
    _say(f"statuses {statuses}; ray was started {second.num_starts} times on the second host")
    _say(f"{_EPOCHS} epochs, largest relative difference between the two trainings: {difference:.1e}")
    return int(statuses != [0, 0, 0] or second.num_starts < 2 or not difference <= _TOLERANCE)


def _cut_and_mend(spool: Path, second: _Supervisor, token: str) -> None:
    """A raylet hears that it was given up when its link is mended, and ends itself."""
    _wait(f"{_CUT_AFTER} epochs", lambda: len(read_spool(spool)) >= _CUT_AFTER)
    starts, cut_s = second.num_starts, time.monotonic()
    _ip("-n", "masray-b", "link", "set", "eth0", "down")
    _say(f"the link of the second host is cut after {len(read_spool(spool))} epochs")
    _wait("the cluster to give the second host up", lambda: _num_cpus(token) == 1)
    _say(f"the cluster has given the host up after {time.monotonic() - cut_s:.0f} s")
    _ip("-n", "masray-b", "link", "set", "eth0", "up")
    mended_s = time.monotonic()
    _wait("the second host's raylet to end itself", lambda: second.num_starts > starts)
    _say(f"the link is mended; {time.monotonic() - mended_s:.0f} s later its raylet was a new one")


def _jobs(folder: Path) -> tuple[IngestJob, TrainJob]:
    corpus = SyntheticConfig(
        num_subjects=3, takes_per_subject=1, instants_per_take=16, fps=8, width_px=128, height_px=128
    )
    write_corpus(folder / "corpus", corpus)
    ingest = IngestJob(
        root=str(folder / "corpus"),
        output=str(folder / "dataset"),
        masks=BackgroundMasks(plate="given"),
        crop=CropConfig(size_px=96),
        curation=None,
        split=SplitBySubject(validation=("s01",), test=("s02",)),
    )
    stage = replace(cpu_cascade().stages[0], learning_rates=((_EPOCHS, 2e-3),), num_direct_only_steps=10)
    detector = replace(cpu_cascade().detector, width=8, head_width=16)
    train = TrainJob(
        manifest=str(folder / "dataset" / "manifest.json"),
        storage=str(folder / "runs"),
        name="calm",
        cascade=replace(cpu_cascade(), stages=(stage,), detector=detector, steps_per_epoch=20),
        workers=Workers(num=2),
    )
    return ingest, train


def _submit(folder: Path, job: IngestJob | TrainJob, token: str) -> int:
    start_s = time.monotonic()
    done = _mas_ray(_write(folder, job), environment={"RAY_AUTH_TOKEN": token})
    for line in (done.stdout + done.stderr).splitlines():
        print(f"    {line}", flush=True)
    _say(f"status {done.returncode} after {time.monotonic() - start_s:.0f} s")
    return done.returncode


def _write(folder: Path, job: IngestJob | TrainJob) -> list[str]:
    record = folder / "job.json"
    record.write_text(codec.dumps(job))
    return ["submit", "--address", _DASHBOARD, "--", "ingest" if isinstance(job, IngestJob) else "train", "--job", str(record)]  # fmt: skip  # noqa: E501


def _mas_ray(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """From outside of both hosts, with nothing of the user's own configuration."""
    return subprocess.run(
        [sys.executable, "-m", "mas_ray.cli.main", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **_code(), **environment},
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        check=False,
    )


def _mas_ray_jobs(token: str) -> str:
    return _mas_ray(["jobs", "list", "--address", _DASHBOARD], {"RAY_AUTH_TOKEN": token}).stdout.rstrip()


def _num_cpus(token: str) -> float:
    code = (
        "from ray.util.state import list_nodes; import sys;"
        "nodes = [node for node in list_nodes(sys.argv[1], detail=True) if node.state == 'ALIVE'];"
        "print(sum(node.resources_total.get('CPU', 0) for node in nodes))"
    )
    asked = subprocess.run(
        [sys.executable, "-c", code, _DASHBOARD],
        env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return float(asked.stdout) if asked.returncode == 0 else 0.0


class _Supervisor:
    """Keeps `ray start` running on a host, as systemd or Kubernetes would."""

    def __init__(self, host: str, address: str, options: list[str], token: str, folder: Path) -> None:
        self.num_starts = 0
        self._command = ["ip", "netns", "exec", host, sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
        self._command += [f"--node-ip-address={address}", "--num-cpus=1", "--object-store-memory=100000000", *options]
        self._environment = {
            **os.environ,
            **_code(),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "eth0",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "2000",
            "RAY_health_check_failure_threshold": "5",
            "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
        }
        self._log = folder / f"{host}.log"
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._family = dict[int, psutil.Process]()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> _Supervisor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._closing.is_set():
            self.num_starts += 1
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)
            while self._process.poll() is None and not self._closing.wait(0.5):
                self._note_family()
            self._end()
            self._closing.wait(1.0)

    def _note_family(self) -> None:
        assert self._process is not None
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self._process.pid).children(recursive=True):
                self._family[process.pid] = process

    def _end(self) -> None:
        """Whatever is left of this start; psutil knows a process that has another one's number."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        for process in self._family.values():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(list(self._family.values()), timeout=30)
        self._family.clear()


@contextmanager
def _bridge() -> Iterator[None]:
    _ip("link", "add", _BRIDGE, "type", "bridge")
    try:
        _ip("addr", "add", f"{_PREFIX}.1/24", "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
        yield
    finally:
        _ip("link", "del", _BRIDGE)


@contextmanager
def _host(name: str, address: str) -> Iterator[None]:
    _ip("netns", "add", name)
    try:
        _ip("link", "add", f"{name}-0", "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", f"{name}-0", "master", _BRIDGE, "up")
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", name, "link", "set", device, "up")
        yield
    finally:
        _ip("link", "del", f"{name}-0")  # at once; with the namespace it goes when its last process has
        _ip("netns", "del", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _code() -> dict[str, str]:
    """The code that is tested, on every host."""
    return {"PYTHONPATH": str(Path(__file__).parents[2])}


def _spool(job: TrainJob) -> Path:
    return Path(job.storage) / job.name / "stages" / "0-torso" / "metrics.jsonl"


def _difference(calm: list[dict[str, Any]], cut: list[dict[str, Any]]) -> float:
    """The largest relative difference of any loss; infinite if one of the trainings told other epochs."""
    if [line["epoch"] for line in calm] != [line["epoch"] for line in cut] or len(calm) != _EPOCHS:
        return float("inf")
    pairs = [
        (line[key], other[key])
        for line, other in zip(calm, cut, strict=True)
        for key in line
        if key.startswith(_COMPARED)
    ]
    return max(abs(a - b) / max(abs(a), 1e-12) for a, b in pairs)


def _wait(what: str, done: Callable[[], bool]) -> None:
    end_s = time.monotonic() + _LONGEST_S
    while not done():
        if time.monotonic() > end_s:
            raise SystemExit(f"waited {_LONGEST_S:.0f} s for {what}")
        time.sleep(0.5)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
