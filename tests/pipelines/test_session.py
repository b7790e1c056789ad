import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mas_ray.config.jobs import Workers
from mas_ray.pipelines import session

SCRIPT = """
import json, os, sys
from mas_ray.config.jobs import Workers
from mas_ray.pipelines import session
import ray
from ray._raylet import AuthenticationMode, get_authentication_mode

result = {}
with session.connect(num_cpus=2):
    session.quiet_data()
    result["mode"] = get_authentication_mode() == AuthenticationMode.TOKEN
    result["token"] = os.environ.get("RAY_AUTH_TOKEN")
    result["sum"] = ray.get(ray.remote(lambda: sum(range(5))).remote())
    with session.connect():
        pass
    result["kept"] = ray.is_initialized()
    result["rows"] = ray.data.range(3).map(lambda row: {"id": row["id"] + 1}).sum("id")
    session.require(Workers(num=2), "ingest")
    for workers in (Workers(num=3), Workers(num=1, gpus_each=1)):
        try:
            session.require(workers, "ingest")
        except ValueError as error:
            result.setdefault("errors", []).append(str(error))
    try:
        session.require(Workers(num=2), "training", memory_each_bytes=2**50)
    except ValueError as error:
        result["errors"].append(str(error))
result["left"] = ray.is_initialized()
print(json.dumps(result))
"""


def run(tmp_path, **environment):
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**inherited, "HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.ray
@pytest.mark.slow
def test_local_session_is_quiet_guarded_and_leaves_nothing_at_home(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "starting Ray on this machine\n"
    result = json.loads(done.stdout)
    assert result["mode"]
    assert len(result["token"]) == 64
    assert (result["sum"], result["rows"]) == (10, 6)
    assert result["kept"]
    assert not result["left"]
    assert result["errors"][0] == "workers: ingest asks for 3 workers with 3 CPUs together, Ray has 2"
    assert result["errors"][1] == "workers: ingest asks for 1 workers with 1 GPUs together, Ray has 0"
    assert "GiB of memory together, Ray has" in result["errors"][2]
    assert list((tmp_path / "home").rglob("*")) == []


@pytest.mark.ray
@pytest.mark.slow
def test_unreachable_cluster_is_one_line(tmp_path):
    done = run(tmp_path, RAY_ADDRESS="127.0.0.1:1")
    assert done.returncode == 1
    assert "ValueError: RAY_ADDRESS: no Ray cluster at 127.0.0.1:1" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("address", "text"),
    [(None, "starting Ray on this machine\n"), ("ray-head:6379", "joining the Ray cluster at ray-head:6379\n")],
)
def test_a_line_comes_before_ray_does(address, text, monkeypatch, capsys):
    """It may take minutes."""

    def begin(*_, **__):
        assert capsys.readouterr().err == text
        raise RuntimeError("begun")

    monkeypatch.setattr(session, "_set_environment", lambda: None)
    monkeypatch.setattr(session, "_join", begin)
    monkeypatch.setattr(session, "ray", SimpleNamespace(is_initialized=lambda: False, init=begin))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(RuntimeError, match="begun"), session.connect():
        pass


def test_configured_tokens_and_modes_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "Config", SimpleNamespace(initialize=lambda text: None))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED", "RAY_BACKEND_LOG_LEVEL"):
        monkeypatch.setenv(name, "")  # so that the test's own settings are undone
        monkeypatch.delenv(name)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("mine")
    session._set_environment()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN" not in os.environ
    (tmp_path / ".ray" / "auth_token").unlink()
    session._set_environment()
    first = os.environ["RAY_AUTH_TOKEN"]
    session._set_environment()
    assert os.environ["RAY_AUTH_TOKEN"] == first
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    session._set_environment()
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_a_cluster_that_grows_is_waited_for(monkeypatch, capsys):
    monkeypatch.setattr(session.ray, "cluster_resources", lambda: {"CPU": 1.0})
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    with pytest.raises(ValueError, match=r"^workers: ingest asks for 2 .* Ray has 1; .* by MAS_RAY_AUTOSCALING=1$"):
        session.require(Workers(num=2), "ingest")
    monkeypatch.setenv("MAS_RAY_AUTOSCALING", "1")
    session.require(Workers(num=2), "ingest")
    assert capsys.readouterr().err == (
        "waiting for the cluster to grow: ingest asks for 2 workers with 2 CPUs together, Ray has 1\n"
    )
