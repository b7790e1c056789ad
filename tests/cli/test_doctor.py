from __future__ import annotations

import json

import pytest

from mas_ray.cli import doctor
from mas_ray.pipelines.doctor import Check

READY = (
    Check(area="package", name="torch", status="ok", found="2.9"),
    Check(area="asset", name="film", status="fetchable", found="not cached", needed_for="the show", remedy="fetch it"),
    Check(area="asset", name="sound", status="fetchable", found="not cached", needed_for="the show", remedy="fetch it"),
)
BROKEN = (
    *READY,
    Check(area="works", name="ray", status="missing", found="[Errno 2] no", needed_for="work", remedy="mend it"),
)


@pytest.fixture
def _ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda *_, **__: READY)


@pytest.fixture
def _broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda *_, **__: BROKEN)


@pytest.mark.usefixtures("_ready")
def test_plain_lines_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ok", "package", "torch", "2.9"]
    assert lines[1].startswith("fetchable asset   film")
    assert lines[1].endswith("not cached; needed for the show")
    assert lines[3:] == ["to mend film: fetch it", "ready; assets to fetch when first used: 2"]


@pytest.mark.usefixtures("_broken")
def test_something_missing_is_exit_status_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run([]) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == ["to mend ray: mend it", "not ready: 1 missing"]


@pytest.mark.usefixtures("_broken")
def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run(["--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ready"] is False
    assert [check["name"] for check in answer["checks"]] == ["torch", "film", "sound", "ray"]
    assert answer["checks"][-1]["remedy"] == "mend it"


@pytest.mark.usefixtures("_broken")
def test_a_table_in_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    monkeypatch.setenv("COLUMNS", "60")
    assert doctor.run([]) == 1
    out = capsys.readouterr().out
    assert "\x1b[" in out
    assert "needed for the show" in out
    assert "[Errno 2] no" in out
    assert "not ready: 1 missing" in out


@pytest.mark.usefixtures("_ready")
def test_the_index_is_asked_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def examine(*_: object, network: bool) -> tuple[Check, ...]:
        asked.append(network)
        return READY

    monkeypatch.setattr(doctor, "examine", examine)
    doctor.run([])
    doctor.run(["--network"])
    assert asked == [False, True]
