from __future__ import annotations

import importlib
import importlib.metadata
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mas_ray import assets
from mas_ray.pipelines import doctor
from mas_ray.pipelines.doctor import Check


def _by_name(checks: Any) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_package_that_is_absent_or_too_old_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        importlib.metadata, "requires", lambda _: ["av>=99", "no-such-thing>=2", "ruff>=0.9; extra == 'dev'"]
    )
    found = _by_name(doctor._check_packages())
    assert found["python"].status == "ok"
    assert "ruff" not in found
    assert found["av"].status == found["no-such-thing"].status == "missing"
    assert found["av"].remedy == "pip install 'av>=99'"
    assert found["no-such-thing"].found == "not installed (asked: >=2)"


def test_what_this_project_asks_for_is_installed_here() -> None:
    found = _by_name(doctor._check_packages())
    assert {"torch", "ray", "mlflow", "av"} <= set(found)
    assert [check.name for check in found.values() if check.status != "ok"] == []


def test_a_full_disk_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "not" / "yet"
    monkeypatch.setattr(
        shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**30 if folder == tmp_path else 2**40)
    )
    found = _by_name(doctor._check_disks(tmp_path, cache))
    assert found["working folder"].status == "missing"  # 1 GiB is too little for the demo
    assert str(tmp_path) in found["working folder"].remedy
    assert found["cache"].status == "ok"  # and enough for the cache, which will lie on the same disk


def test_assets_are_ok_fetchable_or_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = assets.SELFIE_SEGMENTATION
    assert doctor._check_asset(asset, tmp_path, True).status == "fetchable"
    without_index = doctor._check_asset(asset, tmp_path, False)
    assert without_index.status == "missing"
    assert without_index.remedy
    folder = assets.folder(asset, tmp_path)
    folder.mkdir()
    (folder / "selfie_segmentation.tflite").write_bytes(b"half of it")
    assert doctor._check_asset(asset, tmp_path, True).found.startswith("damaged")
    monkeypatch.setattr(assets, "is_cached", lambda *_: True)
    assert doctor._check_asset(asset, tmp_path, False).status == "ok"


def test_every_asset_has_a_remedy() -> None:
    assert set(doctor._REMEDY_OF_ASSET) == set(assets.ALL)


def test_h264_is_really_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._check_h264().status == "ok"

    import av

    def refuse(*_: object, **__: object) -> None:
        raise av.codec.codec.UnknownCodecError("libx264")

    monkeypatch.setattr(av, "open", refuse)
    broken = doctor._check_h264()
    assert broken.status == "missing"
    assert "libx264" in broken.found


def test_a_module_that_does_not_import_is_missing_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise ImportError("libfoo.so not found\nand more")

    monkeypatch.setattr(importlib, "import_module", fail)
    check = doctor._check_import("ray", "training")
    assert (check.status, check.found) == ("missing", "does not import: libfoo.so not found")
    assert check.remedy


def test_a_silent_index_makes_uncached_assets_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "_check_import", lambda name, needed_for: Check(area="works", name=name, status="ok", found="")
    )
    monkeypatch.setattr(assets, "index_complaint", lambda: "no way to it")
    offline = doctor.examine(tmp_path, tmp_path / "cache", network=True)
    assert _by_name(offline)["package index"].found == "no way to it"
    assert _by_name(offline)["balancing-videos"].status == "missing"
    assert not doctor.is_ready(offline)
    unasked = doctor.examine(tmp_path, tmp_path / "cache")
    assert "package index" not in _by_name(unasked)
    assert _by_name(unasked)["balancing-videos"].status == "fetchable"
    assert doctor.is_ready(unasked)
