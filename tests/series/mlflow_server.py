"""MLflow's server with Postgres and basic authentication, ended twice while a training logs to it.

    python tests/series/mlflow_server.py

Needs Postgres' programs on the path (or ``--postgres FOLDER``) and, in this Python, ``mlflow[auth]`` and
``psycopg[binary]``. Everything is on loopback, in a temporary folder, with passwords drawn for the occasion; as root,
Postgres runs as user 65534. The server is killed in the first stage and stays away for a while, and is killed in the
second stage and started again at once. Status 0 if MLflow then has every epoch of the run's own record, each figure
once, its parameters, both stages and the model; if nobody is answered without the password; and if no password stands
in the run folder, in MLflow or on a command line.
"""

from __future__ import annotations

import argparse
import base64
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.ingest import BackgroundMasks, CropConfig, SplitBySubject
from mas_ray.config.jobs import IngestJob, TrainJob
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import write_corpus
from mas_ray.tracking.spool import read_spool

_NOBODY = 65534
_EPOCHS, _STEPS = 14, 60
_AWAY_S = 45.0  # longer than the pause between two attempts of the mirror
_LONGEST_S = 900.0
_AUTH = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = {uri}
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


def main() -> int:
    """Run it all, and say what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--postgres", type=Path, help="folder of initdb and postgres")
    flags = parser.parse_args()
    passwords = {name: secrets.token_urlsafe(24) for name in ("postgres", "admin", "session")}
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="mlflow-server-", dir="/tmp"))
        folder.chmod(0o755)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        database = stack.enter_context(_postgres(folder, flags.postgres, passwords["postgres"]))
        server = stack.enter_context(_Server(folder, database, passwords))
        _say(f"MLflow answers on Postgres; without the password: {_status(server.uri, None)}")
        job = _job(folder, server.uri)
        environment = {
            **os.environ,
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": passwords["admin"],
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        with (folder / "train.log").open("wb") as log:
            training = subprocess.Popen(
                [sys.executable, "-m", "mas_ray.cli.main", "train", "--job", str(folder / "train.json")],
                env=environment,
                stdout=log,
                stderr=log,
            )
        stack.callback(training.kill)
        seen = _disturb(job, server, training)
        status = training.wait(_LONGEST_S)
        _say(f"the training ended with status {status}")
        os.environ |= {name: environment[name] for name in environment if name.startswith("MLFLOW_TRACKING_")}
        faults = [
            *([] if status == 0 else [(folder / "train.log").read_text()[-2000:]]),
            *([] if _status(server.uri, None) == 401 else ["somebody without the password was answered"]),
            *([] if _status(server.uri, "wrong") == 401 else ["somebody with another password was answered"]),
            *_missing(job, server.uri),
            *_leaks(passwords, seen, Path(job.storage), server.uri),
        ]
        _say("\n".join(faults) or "nothing is lost, nothing is doubled, no password is written down")
    return int(bool(faults))


def _disturb(job: TrainJob, server: _Server, training: subprocess.Popen[bytes]) -> list[str]:
    """Kill the server twice; the command lines of all processes meanwhile."""
    seen = list[str]()
    first, second = (_spool(job, stage) for stage in range(2))
    _wait("two epochs", lambda: len(read_spool(first)) >= 2 or training.poll() is not None)
    seen += _command_lines()
    server.kill()
    _say(f"the server is killed after {len(read_spool(first))} epochs of the first stage")
    time.sleep(_AWAY_S)
    before = len(read_spool(first))
    server.start()
    _say(f"it is back after {_AWAY_S:.0f} s, in which the training came to epoch {before}")
    _wait("two epochs", lambda: len(read_spool(second)) >= 2 or training.poll() is not None)
    server.kill()
    server.start()
    _say(f"it is killed and started again after {len(read_spool(second))} epochs of the second stage")
    return seen + _command_lines()


def _missing(job: TrainJob, uri: str) -> Iterator[str]:
    """What MLflow lacks of the run's own record, or has twice."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("mas-ray")
    if experiment is None:
        yield "no experiment"
        return
    runs = client.search_runs([experiment.experiment_id])
    children = {run.info.run_name: run for run in runs if "mlflow.parentRunId" in run.data.tags}
    if len(runs) != 3 or any(run.info.status != "FINISHED" for run in runs):
        yield f"runs: {[(run.info.run_name, run.info.status) for run in runs]}"
    num_figures = 0
    for index, stage in enumerate(job.cascade.stages):
        epochs = read_spool(_spool(job, index))
        if len(epochs) != _EPOCHS or stage.name not in children:
            yield f"{stage.name}: {len(epochs)} epochs in the record, runs {list(children)}"
            continue
        for key in (key for key, value in epochs[0].items() if isinstance(value, float)):
            told = [(m.step, m.value) for m in client.get_metric_history(children[stage.name].info.run_id, key)]
            if sorted(told) != sorted((epoch["step"], epoch[key]) for epoch in epochs):
                yield f"{stage.name}: {key}: {len(told)} values"
            num_figures += len(told)
    parent = next(run for run in runs if run.info.run_name not in children)
    if parent.data.params.get("cascade.steps_per_epoch") != str(_STEPS):
        yield f"parameters: {sorted(parent.data.params)}"
    versions = client.search_model_versions("name = 'mas-ray'")
    if len(versions) != 1:
        yield f"{len(versions)} versions of the model"
    _say(f"MLflow has {num_figures} figures in {len(children)} stages, {len(parent.data.params)} parameters, 1 model")


def _leaks(passwords: dict[str, str], seen: list[str], storage: Path, uri: str) -> Iterator[str]:
    """Where a password stands that should not."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    told = str(
        [run.data.to_dictionary() for run in client.search_runs([e.experiment_id for e in client.search_experiments()])]
    )
    for name, password in passwords.items():
        for text in (password, base64.b64encode(f"admin:{password}".encode()).decode()):
            yield from (
                f"{path} has the {name} password" for path in _files(storage) if text.encode() in path.read_bytes()
            )
            yield from (f"a command line has the {name} password: {line}" for line in seen if text in line)
            if text in told:
                yield f"a run's tags or parameters have the {name} password"


class _Server:
    """``mlflow server`` as cluster/compose.yaml starts it."""

    def __init__(self, folder: Path, database: str, passwords: dict[str, str]) -> None:
        self._port = _free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        (folder / "basic_auth.ini").write_text(_AUTH.format(uri=database))
        self._folder, self._database, self._passwords = folder, database, passwords
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--host", "127.0.0.1"]
        command += ["--port", str(self._port), "--workers", "1", "--backend-store-uri", self._database]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        command += ["--uvicorn-opts", "--timeout-worker-healthcheck 120"]
        environment = {
            **os.environ,
            "PGPASSWORD": self._passwords["postgres"],
            "MLFLOW_AUTH_ADMIN_PASSWORD": self._passwords["admin"],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": self._passwords["session"],
            "MLFLOW_AUTH_CONFIG_PATH": str(self._folder / "basic_auth.ini"),
        }
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        _wait("the server", lambda: _status(self.uri, self._passwords["admin"]) == 200)

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        assert self._process is not None
        with suppress(psutil.NoSuchProcess):
            family = [*psutil.Process(self._process.pid).children(recursive=True), psutil.Process(self._process.pid)]
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.wait()


@contextmanager
def _postgres(folder: Path, programs: Path | None, password: str) -> Iterator[str]:
    """A database on loopback while the block runs: its address, without the password."""
    initdb, postgres = (shutil.which(name, path=programs and str(programs)) for name in ("initdb", "postgres"))
    if not initdb or not postgres:
        raise SystemExit("no Postgres on the path; --postgres FOLDER names where initdb and postgres are")
    home, port = folder / "postgres", _free_port()
    home.mkdir()
    (home / "password").write_text(password)
    as_user = [] if os.geteuid() else ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    if as_user:
        for path in (home, home / "password"):
            os.chown(path, _NOBODY, _NOBODY)
    init = [initdb, "--pgdata", str(home / "data"), "--username", "mlflow", "--auth", "scram-sha-256"]
    subprocess.run([*as_user, *init, f"--pwfile={home / 'password'}"], check=True, capture_output=True, cwd=home)
    (home / "password").unlink()
    command = [postgres, "-D", str(home / "data"), "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", str(home)]
    with (folder / "postgres.log").open("wb") as log:
        process = subprocess.Popen([*as_user, *command], stdout=log, stderr=log, cwd=home)
    try:
        _wait("Postgres", lambda: _create_database(port, password))
        yield f"postgresql://mlflow@127.0.0.1:{port}/runs"
    finally:
        process.terminate()
        process.wait()


def _create_database(port: int, password: str) -> bool:
    import psycopg

    try:
        with psycopg.connect(
            host="127.0.0.1", port=port, user="mlflow", password=password, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute("CREATE DATABASE runs")
    except psycopg.OperationalError:
        return False
    return True


def _job(folder: Path, uri: str) -> TrainJob:
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
    (folder / "ingest.json").write_text(codec.dumps(ingest))
    command = [sys.executable, "-m", "mas_ray.cli.main", "ingest", "--job", str(folder / "ingest.json")]
    subprocess.run(command, check=True, capture_output=True)
    stages = tuple(replace(stage, learning_rates=((_EPOCHS, 2e-3),)) for stage in cpu_cascade().stages[:2])
    detector = replace(cpu_cascade().detector, width=8, head_width=16)
    train = TrainJob(
        manifest=str(folder / "dataset" / "manifest.json"),
        storage=str(folder / "runs"),
        cascade=replace(cpu_cascade(), stages=stages, detector=detector, steps_per_epoch=_STEPS),
        tracking_uri=uri,
    )
    (folder / "train.json").write_text(codec.dumps(train))
    return train


def _spool(job: TrainJob, stage: int) -> Path:
    return Path(job.storage) / job.name / "stages" / f"{stage}-{job.cascade.stages[stage].name}" / "metrics.jsonl"


def _status(uri: str, password: str | None) -> int:
    """What the server answers to whoever asks for its experiments; 0: nothing."""
    request = urllib.request.Request(f"{uri}/api/2.0/mlflow/experiments/search?max_results=1")
    if password is not None:
        request.add_header("Authorization", f"Basic {base64.b64encode(f'admin:{password}'.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _command_lines() -> list[str]:
    return [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait(what: str, done: Callable[[], Any]) -> None:
    end_s = time.monotonic() + _LONGEST_S
    while not done():
        if time.monotonic() > end_s:
            raise SystemExit(f"waited {_LONGEST_S:.0f} s for {what}")
        time.sleep(0.3)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
