import hashlib
import uuid

import pytest

from mas_ray.shards.location import (
    RemotePath,
    absolute,
    files_below,
    location,
    names_in,
    publishing,
    read_lines,
    remove_tree,
)
from mas_ray.shards.manifest import file_sha256
from mas_ray.shards.write import write_text


@pytest.fixture(params=["disk", "store"])
def folder(request, tmp_path):
    """An empty folder on a disk, and one in a store."""
    return tmp_path / "data" if request.param == "disk" else location(f"fsspec+memory://{uuid.uuid4()}/data/")


def test_files_are_written_read_listed_and_removed(folder):
    write_text(folder / "shards" / "a.txt", "one\ntwo\n")
    write_text(folder / "b.txt", "")
    write_text(folder / "b.txt", "three")
    file = folder / "shards" / "a.txt"
    assert file.is_file()
    assert file.exists()
    assert (file.name, file.parent) == ("a.txt", folder / "shards")
    assert file.read_text(encoding="utf-8") == "one\ntwo\n"
    assert list(read_lines(file)) == ["one\n", "two\n"]
    assert file_sha256(file) == hashlib.sha256(b"one\ntwo\n").hexdigest()
    assert (folder / "shards").is_dir()
    assert names_in(folder) == ["b.txt", "shards"]
    assert list(files_below(folder)) == [(folder / "b.txt", 5), (file, 8)]
    file.unlink()
    assert not file.exists()
    assert list(files_below(folder)) == [(folder / "b.txt", 5)]
    write_text(file, "again")
    remove_tree(folder / "shards")
    remove_tree(folder / "nowhere")
    assert list(files_below(folder)) == [(folder / "b.txt", 5)]


def test_nothing_is_there_yet(folder):
    assert not folder.exists()
    assert not folder.is_dir()
    assert not (folder / "x").is_file()
    assert names_in(folder) == []
    assert list(files_below(folder)) == []


def test_what_was_not_finished_has_no_name(folder):
    write_text(folder / "a.txt", "before")

    def stop_halfway():
        with publishing(folder / "a.txt") as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stop_halfway()
    assert (folder / "a.txt").read_text() == "before"
    assert names_in(folder) == ["a.txt"]


def test_a_block_that_leaves_nothing_publishes_nothing(folder):
    with publishing(folder / "a.txt"):
        pass
    assert not (folder / "a.txt").exists()


def test_addresses_of_disks_are_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert location("data/set") == tmp_path.__class__("data/set")
    assert location(f"file://{tmp_path}/x") == tmp_path / "x"
    assert location(tmp_path) == tmp_path
    assert absolute("data") == str(tmp_path / "data")
    assert absolute("fsspec+memory://data") == "fsspec+memory://data"


def test_a_path_in_a_store_keeps_what_its_address_asks_for():
    found = location("s3://bucket/a/b?region=eu-west-1&endpoint_override=127.0.0.1%3A9&scheme=http")
    assert isinstance(found, RemotePath)
    assert found.path == "bucket/a/b"
    assert (found / "c.json").path == "bucket/a/b/c.json"
    assert (
        str(found / "c.json") == "s3://bucket/a/b/c.json?region=eu-west-1&endpoint_override=127.0.0.1%3A9&scheme=http"
    )
    assert (found / "c.json").parent == found
    assert found.parent.path == "bucket/a"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nowhere://a/b", r"^nowhere://a/b: no such store: "),
        ("s3://key:secret@bucket/a", r"^s3://bucket/a: credentials in an address end up in records"),
    ],
)
def test_an_address_that_is_none_is_an_error_in_a_line(address, message):
    with pytest.raises(ValueError, match=message) as error:
        location(address)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)
