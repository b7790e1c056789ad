"""A folder kept in a store: what its copy gets, what the store gets and in which order, and whose it is."""

import os
import shutil
import signal
import threading
import time
import uuid
from contextlib import suppress

import pytest

from mas_ray.pipelines import kept_folder as module
from mas_ray.pipelines import lease as lease_module
from mas_ray.pipelines.kept_folder import KeptFolder, kept_folder
from mas_ray.pipelines.lease import LEASE, LEASE_S, BusyError, Lease, is_held, read_lease
from mas_ray.shards.location import location, names_in
from mas_ray.shards.transfer import list_tree
from mas_ray.shards.write import write_text


@pytest.fixture
def place(s3):
    return location(s3(f"{uuid.uuid4().hex}/run"))  # the servers of a process share what they hold


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A host of its own; gives what makes it another one."""
    monkeypatch.setattr(lease_module, "_SETTLE_S", 0.0)

    def move(name):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))

    move("first")
    return move


def _texts(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_another_host_goes_on_from_the_store(place, here):
    with kept_folder(place, removes=True) as kept:
        (kept.path / "stages" / "a").mkdir(parents=True)
        (kept.path / "stages" / "a" / "x").write_text("one")
        (kept.path / "gone").write_text("soon")
        kept.push()
        (kept.path / "gone").unlink()
        (kept.path / ".lock").write_text("of this host")
        (kept.path / f"half.partial-{os.getpid()}").write_text("of this host")
        assert kept.address(kept.path / "stages" / "a") == str(place / "stages/a")
    assert sorted(list_tree(place)) == ["stages/a/x"], "and the lease is given back"
    here("second")
    with kept_folder(place) as kept:
        assert _texts(kept.path) == {"stages/a/x": "one"}
        (kept.path / "stages" / "a" / "x").write_text("two, and longer")
        (kept.path / "y").write_text("new")
    here("first")
    with kept_folder(place) as kept:
        copied = {name: text for name, text in _texts(kept.path).items() if name.endswith(("x", "y"))}
        assert copied == {"stages/a/x": "two, and longer", "y": "new"}


def test_what_a_copy_has_is_not_fetched_again_and_what_it_lost_is(place, monkeypatch):
    with kept_folder(place) as kept:
        (kept.path / "a").write_text("a")
        (kept.path / "b").write_text("b")
    fetched = []
    real = module.fetch
    monkeypatch.setattr(module, "fetch", lambda source, target: (fetched.append(source.name), real(source, target)))
    with kept_folder(place) as kept:
        assert fetched == []
        (kept.path / "a").unlink()
        shutil.copy(kept.path / "b", kept.path / "c")
        kept.pull(lambda name: name == "a")
        assert (fetched, (kept.path / "c").is_file()) == (["a"], True)
        kept.pull()
        assert (fetched, (kept.path / "c").is_file()) == (["a"], False), "the store is the record"


def test_a_store_without_times_is_believed_to_have_changed(here):
    place = location("fsspec+memory://kept-without-times/run")
    with kept_folder(place) as kept:
        (kept.path / "a").write_text("1")
    write_text(place / "a", "2")
    with kept_folder(place) as kept:
        assert (kept.path / "a").read_text() == "2"


@pytest.mark.parametrize("removes", [False, True])
def test_a_copy_that_is_deleted_under_the_driver_takes_nothing_with_it(place, removes):
    with kept_folder(place, removes=removes) as kept:
        (kept.path / "a").write_text("a")
        (kept.path / "b").write_text("b")
        kept.push()
        (kept.path / "b").unlink()
        kept.push()
        assert names_in(place) == (["a", LEASE] if removes else ["a", "b", LEASE])
        shutil.rmtree(kept.path.parent)
        kept.push()
    assert names_in(place) == (["a"] if removes else ["a", "b"])


def test_what_cannot_be_listed_is_not_gone(place, monkeypatch):
    with kept_folder(place, removes=True) as kept:
        (kept.path / "a").write_text("a")
        kept.push()

        def broken(path):
            raise PermissionError("unreadable")

        with monkeypatch.context() as failing:
            failing.setattr(os, "scandir", broken)
            with pytest.raises(PermissionError, match="unreadable"):
                kept.push()
    assert names_in(place) == ["a"]


def test_records_come_after_what_they_speak_of_and_go_before_it(place, monkeypatch):
    put, real = [], module.upload
    monkeypatch.setattr(module, "at_once", lambda call, items: [call(item) for item in items])
    monkeypatch.setattr(module, "upload", lambda file, target: (put.append(target.name), real(file, target)))
    names = ["cascade.json", "stages/0/e1/FORMAT", "stages/0/e1/model.pt", "stages/0/stage.json", "id"]
    with kept_folder(place, removes=True) as kept:
        for name in names:
            (kept.path / name).parent.mkdir(parents=True, exist_ok=True)
            (kept.path / name).write_text(name)
        kept.push()
        assert put == ["id", "model.pt", "FORMAT", "stage.json", "cascade.json"]
        removed, unlink = [], type(place).unlink
        monkeypatch.setattr(type(place), "unlink", lambda self: (removed.append(self.name), unlink(self)))
        for name in names:
            (kept.path / name).unlink()
        kept.push()
        assert removed == ["cascade.json", "stage.json", "FORMAT", "id", "model.pt"]


def test_a_record_is_not_pushed_when_what_it_speaks_of_was_refused(place, monkeypatch):
    real = module.upload

    def refusing(file, target):
        if target.name == "model.pt":
            raise OSError("full")
        real(file, target)

    monkeypatch.setattr(module, "upload", refusing)
    with kept_folder(place, removes=True) as kept:
        (kept.path / "model.pt").write_text("weights")
        (kept.path / "FORMAT").write_text("whole")
        with pytest.raises(OSError, match="full"):
            kept.push()
        (kept.path / "model.pt").unlink()
        (kept.path / "FORMAT").unlink()
    assert names_in(place) == []


def test_what_only_the_store_has_stays_there(place):
    write_text(place / "checkpoints" / "big", "ray's")
    with kept_folder(place, apart=("checkpoints",)) as kept:
        assert not (kept.path / "checkpoints").exists()
        write_text(place / "stages" / "reports" / "1.json", "a worker's")
        kept.push()
        kept.remove(kept.path / "stages")
        assert sorted(list_tree(place)) == ["checkpoints/big", LEASE]


def test_a_thread_pushes_and_a_failing_store_is_tried_again(place, monkeypatch):
    monkeypatch.setattr(module, "_EVERY_S", 0.02)
    failures, real = [OSError("busy")], module.upload

    def upload(file, target):
        if failures:
            raise failures.pop()
        real(file, target)

    monkeypatch.setattr(module, "upload", upload)
    with kept_folder(place) as kept:
        (kept.path / "a").write_text("a")
        deadline = time.monotonic() + 10
        while "a" not in names_in(place):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert failures == []


def test_a_pull_that_failed_pushes_nothing(place, monkeypatch):
    with kept_folder(place) as kept:
        (kept.path / "a").write_text("a")

    def fail(folder):
        raise OSError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(module, "list_tree", fail)
        shutil.rmtree(kept.path)
        with pytest.raises(OSError, match="gone"), kept_folder(place):
            raise AssertionError("not reached")
    assert names_in(place) == ["a"]


def test_one_driver_at_a_time(place, here, monkeypatch):
    with kept_folder(place) as kept:
        assert is_held(place)
        with pytest.raises(BusyError, match="another process of this machine works here"), kept_folder(place):
            raise AssertionError("not reached")
        here("second")
        expected = rf"process {os.getpid()} on \S+ works here since .*, last heard of"
        with pytest.raises(BusyError, match=expected), kept_folder(place):
            raise AssertionError("not reached")
        assert (kept.path).is_dir()
    assert not is_held(place)
    with kept_folder(place):
        pass


def test_a_driver_that_was_killed_is_followed_at_once_in_its_copy_and_later_elsewhere(place, monkeypatch):
    Lease(place, "killed").take()
    Lease(place, "killed").take()
    with pytest.raises(BusyError):
        Lease(place, "another").take()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + LEASE_S + 1)
    Lease(place, "another").take()
    assert read_lease(place).holder == "another"
    with pytest.raises(BusyError):
        Lease(place, "killed").renew()
    Lease(place, "killed").release()
    assert read_lease(place).holder == "another", "nobody gives back what is another's"


def test_of_two_that_take_a_lease_at_once_one_has_it(place, monkeypatch):
    def meanwhile(seconds):
        with suppress(BusyError):
            Lease(place, "second")._write()

    monkeypatch.setattr(time, "sleep", meanwhile)
    with pytest.raises(BusyError):
        Lease(place, "first").take()
    assert read_lease(place).holder == "second"


@pytest.mark.parametrize(
    ("what", "ctrl_c"),
    [("taken", signal.default_int_handler), ("deleted", signal.default_int_handler), ("taken", signal.SIG_IGN)],
)
def test_a_driver_that_finds_its_lease_gone_stops_and_pushes_nothing(place, monkeypatch, what, ctrl_c):
    """The block is interrupted as by Ctrl-C, and the error says why; a background process that ignores Ctrl-C, too."""
    monkeypatch.setattr(module, "_EVERY_S", 0.05)
    before = signal.signal(signal.SIGINT, ctrl_c)
    sigterm_before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as a verb takes it
    match = "works here" if what == "taken" else "was the folder deleted"
    try:
        with pytest.raises(BusyError, match=match):
            _work_while_the_lease_goes(place, what)
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, sigterm_before)
    assert "late" not in names_in(place)


def _work_while_the_lease_goes(place, what):
    with kept_folder(place) as kept:
        deadline = time.monotonic() + 20
        try:
            while time.monotonic() < deadline:  # again and again: a renewal may be on its way
                if what == "taken":
                    Lease(place, "another")._write()
                elif LEASE in names_in(place):
                    (place / LEASE).unlink()
                time.sleep(0.2)
        except KeyboardInterrupt:
            (kept.path / "late").write_text("late")
            raise


def test_a_folder_on_a_disk_is_its_own_record(tmp_path):
    with kept_folder(tmp_path / "run") as kept:
        assert kept.path == tmp_path / "run"
        assert kept.address(kept.path / "x") == str(tmp_path / "run" / "x")
        (kept.path / "stages").mkdir(parents=True)
        kept.pull()
        kept.push()
        assert (kept.path / "stages").is_dir()
        kept.remove(kept.path / "stages")
        assert not (kept.path / "stages").exists()
    assert threading.active_count() < 20
    assert KeptFolder(tmp_path).store is None
