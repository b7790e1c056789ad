from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.fs as pafs
import pytest

from mas_ray.corpora import folder, remote
from mas_ray.corpora.calibration_files import write_calibrations
from mas_ray.corpora.layout import BadSourceError, RejectedSource
from mas_ray.corpora.take import Calibration, Take

_FILES = {
    "jump/videos/a.mp4": b"video a",
    "jump/videos/b.mp4": b"video b",
    "jump/masks/a/000000.png": b"mask 0",
    "jump/masks/a/000001.png": b"mask 1",
    "jump/masks/b.mp4": b"masks b",
    "jump/backgrounds/a.png": b"background",
    "jump/take.json": b'{"subject": "s01"}',
    "jump/reference.parquet": b"joints",
    "deep/er/a clip.mp4": b"clip",
    "bad/videos/a.mp4": b"",
    "bad/take.json": b"{",
    "README.md": b"text",
    ".hidden/x.mp4": b"",
}


@pytest.fixture
def local(tmp_path: Path) -> Path:
    root = tmp_path / "local" / "corpus"
    for name, content in _FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    camera = Calibration(
        width_px=64,
        height_px=48,
        K=np.diag([50.0, 50.0, 1.0]),
        distortion=np.zeros(0),
        R=np.eye(3),
        t_mm=np.array([0.0, 0.0, 3000.0]),
    )
    write_calibrations(root / "jump" / "calibration" / "cameras.json", {"a": camera, "b": camera})
    return root


@pytest.fixture
def store(local: Path) -> pafs.FileSystem:
    """In memory, under bucket/corpus."""
    filesystem = pafs._MockFileSystem()
    filesystem.create_dir("bucket/corpus")
    pafs.copy_files(
        str(local), "bucket/corpus", source_filesystem=pafs.LocalFileSystem(), destination_filesystem=filesystem
    )
    return filesystem


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def _jump(filesystem: pafs.FileSystem) -> Take:
    (take,) = [take for take in remote.Listing.of(filesystem, "bucket/corpus/").sources() if take.take_id == "jump"]
    assert isinstance(take, Take)
    return take


def test_a_prefix_lists_as_the_same_folder_does(local: Path, store: pafs.FileSystem):
    here, there = list(folder.sources(local)), list(remote.Listing.of(store, "bucket/corpus").sources())
    assert [take.take_id for take in there] == [take.take_id for take in here]
    assert len(there) == 3
    for one, other in zip(here, there, strict=True):
        if isinstance(one, RejectedSource):
            assert one == other
        else:
            assert isinstance(other, Take)
            moved = repr(asdict(other)).replace("bucket/corpus/", f"{local}/")
            assert moved == repr(asdict(one))


def test_a_fetched_take_has_every_file_and_leaves_none_behind(store: pafs.FileSystem, scratch: Path):
    take = _jump(store)
    with remote.fetched(store, take, scratch) as here:
        assert here.reference is not None
        a, b = here.clips
        assert (Path(a.video).read_bytes(), Path(b.video).read_bytes()) == (b"video a", b"video b")
        assert {path.name: path.read_bytes() for path in Path(str(a.masks)).iterdir()} == {
            "000000.png": b"mask 0",
            "000001.png": b"mask 1",
        }
        assert Path(str(b.masks)).read_bytes() == b"masks b"
        assert Path(str(a.background)).read_bytes() == b"background"
        assert b.background is None
        assert Path(here.reference).read_bytes() == b"joints"
        assert (here.take_id, here.subject, a.calibration) == ("jump", "s01", take.clips[0].calibration)
        assert all(path.is_relative_to(scratch) for path in map(Path, (a.video, b.video, here.reference)))
    assert list(scratch.iterdir()) == []


def test_what_changed_since_it_was_listed_is_a_reject_and_leaves_nothing(
    store: pafs.FileSystem, scratch: Path, monkeypatch: pytest.MonkeyPatch
):
    take = _jump(store)
    store.delete_file("bucket/corpus/jump/videos/b.mp4")
    with pytest.raises(BadSourceError, match=r"b\.mp4: no longer there") as gone, remote.fetched(store, take, scratch):
        pass
    assert gone.value.reason == "unreadable_file"
    assert list(scratch.iterdir()) == []

    def copy_half(source, target, length):
        target.write(source.read()[:3])

    monkeypatch.setattr("shutil.copyfileobj", copy_half)
    with pytest.raises(BadSourceError, match=r"3 bytes came, expected") as cut, remote.fetched(store, take, scratch):
        pass
    assert cut.value.reason == "changed_while_read"
    assert list(scratch.iterdir()) == []


def test_an_error_of_whoever_uses_a_take_leaves_nothing(store: pafs.FileSystem, scratch: Path):
    with pytest.raises(KeyboardInterrupt), remote.fetched(store, _jump(store), scratch):
        raise KeyboardInterrupt
    assert list(scratch.iterdir()) == []


def test_names_of_a_store_never_lead_elsewhere_here(scratch: Path):
    store = pafs._MockFileSystem()
    name = "x" * 300 + "\n.mp4"
    store.create_dir("corpus/z")
    for path in (name, "z/CON.mp4"):
        with store.open_output_stream(f"corpus/{path}") as file:
            file.write(b"clip")
    long, reserved = remote.Listing.of(store, "corpus").sources()
    for take in (long, reserved):
        assert isinstance(take, Take)
        with remote.fetched(store, take, scratch) as here:
            assert Path(here.clips[0].video).read_bytes() == b"clip"
            assert Path(here.clips[0].video).is_relative_to(scratch)
            assert Path(here.clips[0].video).suffix == ".mp4"


def test_a_file_is_of_the_same_kind_here_whatever_it_is_called(scratch: Path):
    store = pafs._MockFileSystem()
    camera = '["a b"]\nsize = [64, 48]\nmatrix = [[50, 0, 32], [0, 50, 24], [0, 0, 1]]\ndistortions = []\n'
    files = {
        "videos/a b.mp4": b"clip",
        "masks/a b.mat": b"masks",
        "calibration/two words.toml": f"{camera}rotation = [0, 0, 0]\ntranslation = [0, 0, 3]".encode(),
    }
    for name, content in files.items():
        store.create_dir(f"corpus/jump/{name.partition('/')[0]}")
        with store.open_output_stream(f"corpus/jump/{name}") as file:
            file.write(content)
    (take,) = remote.Listing.of(store, "corpus").sources()
    assert isinstance(take, Take)
    assert take.clips[0].calibration is not None
    with remote.fetched(store, take, scratch) as here:
        assert Path(str(here.clips[0].masks)).suffix == ".mat"


def test_a_prefix_without_takes_is_an_error_that_names_it(store: pafs.FileSystem):
    store.create_dir("bucket/empty")
    with pytest.raises(ValueError, match=r"^bucket/empty: no takes"):
        remote.Listing.of(store, "bucket/empty").sources()
    with pytest.raises(ValueError, match=r"^bucket/nowhere: no such folder"):
        remote.Listing.of(store, "bucket/nowhere").sources()
    with pytest.raises(ValueError, match=r"^bucket/corpus/jump: this is a take"):
        remote.Listing.of(store, "bucket/corpus/jump").sources()


def test_part_of_another_filesystem_is_a_filesystem(local: Path, scratch: Path):
    part = pafs.SubTreeFileSystem(str(local.parent), pafs.LocalFileSystem())
    (take,) = [take for take in remote.Listing.of(part, "corpus").sources() if take.take_id == "jump"]
    assert isinstance(take, Take)
    with remote.fetched(part, take, scratch) as here:
        assert Path(here.clips[0].video).read_bytes() == b"video a"
