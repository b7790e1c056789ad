import json
import os
import time
from pathlib import Path

import pytest

from mas_ray.ingest import fingerprint
from mas_ray.ingest.fingerprint import ChangedWhileReadError, Fingerprints
from mas_ray.ingest.rejects import BadTakeError
from mas_ray.shards.manifest import file_sha256


@pytest.fixture
def reads(monkeypatch):
    """The names of the files that are read; files count as settled at once."""
    seen = []

    def noted(path):
        seen.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr(fingerprint, "file_sha256", noted)
    monkeypatch.setattr(fingerprint, "_SETTLED_NS", 0)
    return seen


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip \n\udcff.mp4"  # a name that is no text, with a line break
    path.write_bytes(b"first")
    time.sleep(0.02)  # more than a tick of the file system's clock
    return path


def ask(memory: Path, *paths: Path) -> list[str]:
    with Fingerprints(memory) as fingerprints:
        return [fingerprints.sha256(path) for path in paths]


def test_a_file_is_read_once(tmp_path, clip, reads):
    expected = [file_sha256(clip)]
    assert ask(tmp_path / "memory", clip) == ask(tmp_path / "memory", clip) == expected
    assert reads == [clip.name]


def test_any_change_of_the_stat_is_a_new_look(tmp_path, clip, reads):
    memory = tmp_path / "memory"
    first = ask(memory, clip)
    found = clip.stat()
    clip.write_bytes(b"other")  # of equal size,
    os.utime(clip, ns=(found.st_atime_ns, found.st_mtime_ns))  # and its time set back
    assert ask(memory, clip) == [file_sha256(clip)] != first
    copy = tmp_path / "copy"
    copy.write_bytes(b"third")
    os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
    copy.rename(clip)
    assert ask(memory, clip) == [file_sha256(clip)]
    assert len(reads) == 3


def test_a_file_that_has_just_changed_is_looked_at_again(tmp_path, clip, reads, monkeypatch):
    monkeypatch.setattr(fingerprint, "_SETTLED_NS", 10**12)
    ask(tmp_path / "memory", clip, clip)
    assert len(reads) == 1
    ask(tmp_path / "memory", clip)
    assert len(reads) == 2


def test_torn_lines_lose_one_file_alone(tmp_path, clip, reads):
    memory = tmp_path / "memory"
    other = tmp_path / "other"
    other.write_bytes(b"other")
    time.sleep(0.02)
    ask(memory, clip, other)
    memory.write_bytes(memory.read_bytes()[:-30])
    ask(memory, clip, other)
    ask(memory, clip, other)
    assert reads == [clip.name, other.name, other.name]
    memory.write_bytes(b'\0\0\0\n["x"]\n12\n\xff\n' + memory.read_bytes())
    ask(memory, clip, other)
    assert len(reads) == 3


def test_changed_while_read(tmp_path, clip, monkeypatch):
    def growing(path):
        digest = file_sha256(path)
        with path.open("ab") as file:
            file.write(b"x")
        return digest

    monkeypatch.setattr(fingerprint, "file_sha256", growing)
    with Fingerprints(tmp_path / "memory") as fingerprints:
        with pytest.raises(ChangedWhileReadError, match="changed while it was read") as error:
            fingerprints.sha256(clip)
        assert error.value.reason == "changed_while_read"
        fingerprints.learn([str(clip)])
        assert fingerprints.recall(clip) is None
    assert (tmp_path / "memory").read_bytes() == b""


def test_unreadable_files_are_named_by_learn_and_sha256_alike(tmp_path, clip):
    with Fingerprints(tmp_path / "memory") as fingerprints:
        fingerprints.learn([str(tmp_path / "nowhere.mp4"), str(tmp_path), str(clip)])
        assert fingerprints.recall(clip) == file_sha256(clip)
        for path in (tmp_path / "nowhere.mp4", tmp_path):
            with pytest.raises(BadTakeError, match=f"{path.name}: ") as error:
                fingerprints.sha256(path)
            assert error.value.reason == "unreadable_file"
            assert not fingerprints.is_unchanged(path)


def test_what_this_process_wrote_is_remembered_at_once(tmp_path):
    path = tmp_path / "shard"
    path.write_bytes(b"rows")
    with Fingerprints(tmp_path / "memory") as fingerprints:
        fingerprints.note(path, "as told")
    assert ask(tmp_path / "memory", path) == ["as told"]
    path.write_bytes(b"more rows")
    assert ask(tmp_path / "memory", path) == [file_sha256(path)]


def test_files_that_nobody_asks_for_are_forgotten_at_the_end_of_a_good_run(tmp_path, reads):
    memory = tmp_path / "memory"
    paths = [tmp_path / f"{i}" for i in range(300)]
    for path in paths:
        path.write_bytes(b"x")
    time.sleep(0.02)
    with Fingerprints(memory) as fingerprints:
        fingerprints.learn(map(str, paths))
    with pytest.raises(KeyboardInterrupt), Fingerprints(memory):
        raise KeyboardInterrupt
    assert len(memory.read_text().splitlines()) == 300
    ask(memory, *paths[:90])
    assert sorted(json.loads(line)[0] for line in memory.read_text().splitlines()) == sorted(map(str, paths[:90]))
    ask(memory, *paths[:90])
    assert len(reads) == 300
