import json
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from moving_square import figure_mask, picture, write_take, write_video

from mas_ray.config.ingest import CropConfig, DecodeLimits, FrameSampling, MaskQualityConfig, ProvidedMasks
from mas_ray.corpora.folder import takes
from mas_ray.ingest import commit, take_rows, take_work
from mas_ray.ingest.rejects import MachineError
from mas_ray.ingest.take_rows import TakeSettings
from mas_ray.ingest.take_work import PlannedTake, ingest_take
from mas_ray.ingest.tally import Tally
from mas_ray.ingest.video import VideoInfo
from mas_ray.shards.images import decode_image, decode_mask
from mas_ray.shards.manifest import IngestParameters
from mas_ray.shards.read import read_rows

SETTINGS = TakeSettings(
    parameters=IngestParameters(
        masks=ProvidedMasks(),
        mask_quality=MaskQualityConfig(),
        crop=CropConfig(size_px=64),
        sampling=FrameSampling(),
    ),
    masks=ProvidedMasks(),
    limits=DecodeLimits(),
    session="s",
    max_attempts=3,
    num_threads=1,
    selfie_model=None,
)


@pytest.fixture
def take(tmp_path):
    write_take(tmp_path / "corpus" / "walk")
    (found,) = takes(tmp_path / "corpus")
    return found


def run(take, folder, settings=SETTINGS, tallies=None):
    item = PlannedTake(take=take, folder=folder, content="c", footage="f")
    return ingest_take(item, settings, advance=lambda tally: None if tallies is None else tallies.append(tally))


def rows_of(folder):
    return list(read_rows(commit.part_path(folder)))


def test_views_of_an_instant_become_one_row(take, tmp_path):
    tallies = []
    record = run(take, tmp_path / "work", tallies=tallies)
    rows = rows_of(tmp_path / "work")
    assert record.instants == tuple(row["instant"] for row in rows) == tuple(range(8))
    assert sum(tallies, Tally()) == Tally(planned=8, instants=8, accepted=15, rejected=1)
    assert [row["timestamp_s"] for row in rows] == [i / 25 for i in range(8)]
    assert [[view["name"] for view in row["views"]] for row in rows] == [
        ["cam1"] if i == 3 else ["cam0", "cam1"] for i in range(8)
    ]
    assert [(r.instant, r.view) for r in record.rejects] == [(3, "cam0")]
    for row in rows:
        for view in row["views"]:
            mask = decode_mask(view["mask"], 64, 64)
            figure = decode_image(view["image"])[mask].mean()
            assert abs(figure - (100 + 5 * row["instant"])) < 6
            assert abs(mask.sum() / 64**2 - (16 * 40) / 48**2) < 0.03
            assert figure_mask(row["instant"], 1).any()


def test_threads_change_nothing(take, tmp_path):
    one = run(take, tmp_path / "one")
    two = run(take, tmp_path / "two", replace(SETTINGS, num_threads=4))
    assert one == two


def test_a_committed_take_is_left_alone(take, tmp_path, monkeypatch):
    record = run(take, tmp_path / "work")
    monkeypatch.setattr(take_rows, "open_clip", lambda *_: pytest.fail("opened again"))
    assert run(take, tmp_path / "work") == record
    commit.part_path(tmp_path / "work").unlink()
    with pytest.raises(pytest.fail.Exception, match="opened again"):
        run(take, tmp_path / "work")


def test_lost_part_is_made_again_byte_for_byte(take, tmp_path):
    record = run(take, tmp_path / "work")
    part = commit.part_path(tmp_path / "work").read_bytes()
    commit.part_path(tmp_path / "work").write_bytes(part[:-1])
    assert run(take, tmp_path / "work") == record
    assert commit.part_path(tmp_path / "work").read_bytes() == part


def test_a_take_that_kills_is_set_aside_unopened(take, tmp_path, monkeypatch):
    monkeypatch.setattr(take_rows, "open_clip", lambda *_: pytest.fail("opened"))
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "attempts").write_text("attempt s c\n" * 3)
    record = run(take, tmp_path / "work")
    assert [r.reason for r in record.rejects] == ["crashed"]
    assert record.instants == ()
    assert commit.read_record(tmp_path / "work", "c") == record


def test_a_take_that_only_died_with_its_driver_is_tried_again(take, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "attempts").write_text("".join(f"attempt killed{i} c\n" for i in range(9)))
    assert run(take, tmp_path / "work").instants
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "attempts").write_text("".join(f"attempt killed{i} c\n" for i in range(10)))
    assert [r.reason for r in run(take, tmp_path / "other").rejects] == ["crashed"]


def test_no_view_at_all_drops_the_instant(tmp_path):
    write_take(tmp_path / "corpus" / "walk", num_views=1)
    (single,) = takes(tmp_path / "corpus")
    record = run(single, tmp_path / "work")
    assert record.instants == (0, 1, 2, 4, 5, 6, 7)
    assert [(r.instant, r.view) for r in record.rejects] == [(3, "cam0"), (3, None)]
    assert record.rejects[1].reason == "no_views"


def test_bad_takes_are_rejected_with_a_reason(take, tmp_path):
    def reason(name, changed):
        record = run(changed, tmp_path / name)
        assert record.instants == ()
        (reject,) = record.rejects
        assert reject.instant is None
        assert str(tmp_path) not in reject.detail
        return reject.reason

    def with_video(path):
        return replace(take, clips=(take.clips[0], replace(take.clips[1], video=str(path))))

    short = write_video(tmp_path / "short.mp4", [picture(i, 1) for i in range(7)])
    fast = write_video(tmp_path / "fast.mp4", [picture(i, 1) for i in range(8)], rate=30)
    small = write_video(tmp_path / "small.mp4", [picture(i, 1)[:64, :64] for i in range(8)])
    assert reason("a", with_video(short)) == "mismatched_length"
    assert reason("b", with_video(fast)) == "mismatched_frame_rate"
    assert reason("c", with_video(small)) == "mismatched_size"
    assert reason("d", with_video(tmp_path / "none.mp4")) == "unreadable_video"
    assert reason("e", replace(take, clips=(replace(take.clips[0], masks=None),))) == "unreadable_masks"


def test_rates_may_differ_by_less_than_half_a_frame_over_the_take(take):
    def check(num_frames, rates):
        infos = [
            VideoInfo(
                width_px=1,
                height_px=1,
                frames_per_s=Fraction(rate),
                num_frames=num_frames,
                times_s=np.arange(num_frames) / float(rate),
            )
            for rate in rates
        ]
        take_rows._check_synchronised(take, infos)

    check(499, (Fraction(30), Fraction(30000, 1001)))
    with pytest.raises(take_rows.BadTakeError, match=r"view cam0 has 30 frames per second, view cam1 has 29\.97"):
        check(501, (Fraction(30), Fraction(30000, 1001)))


KILLER = """
import hashlib, json, os, signal, sys
from pathlib import Path
from mas_ray.corpora.folder import takes
from mas_ray.ingest import commit
from mas_ray.ingest.take_work import PlannedTake, ingest_take
sys.path.insert(0, {tests!r})
from test_take_work import SETTINGS

base = Path({base!r})
(take,) = takes(base / "corpus")


def attempt(folder, die_at):
    steps = 0

    def step(*_):
        nonlocal steps
        steps += 1
        if steps == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event, args):
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(folder) in str(args[0]):
            step()

    if os.fork() == 0:
        sys.addaudithook(audit)
        ingest_take(PlannedTake(take=take, folder=folder, content="c", footage="f"), SETTINGS, advance=step)
        (base / "steps").write_text(str(steps))
        os._exit(0)
    return os.WTERMSIG(os.wait()[1])


def digest(folder):
    return [hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in ("part.parquet", "commit.json")]


clean = base / "work-clean"
assert attempt(clean, -1) == 0
result = {{"clean": digest(clean), "runs": []}}
for die_at in range(1, int((base / "steps").read_text()) + 1):
    folder = base / f"work-{{die_at}}"
    signals = [attempt(folder, die_at), attempt(folder, -1)]
    left = sorted(p.name for p in folder.iterdir())
    result["runs"].append({{"signals": signals, "digest": digest(folder), "left": left}})
print(json.dumps(result))
"""


@pytest.mark.slow
def test_killed_at_any_step_ends_in_the_same_bytes(tmp_path):
    """SIGKILL before every file operation and after every instant; the next attempt must not show it."""
    write_take(tmp_path / "corpus" / "walk", num_frames=4)
    script = KILLER.format(tests=str(Path(__file__).parent), base=str(tmp_path))
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert len(result["runs"]) > 10
    for number, outcome in enumerate(result["runs"], start=1):
        assert outcome["signals"] == [9, 0], number
        assert outcome["digest"] == result["clean"], number
        leftovers = set(outcome["left"]) - {"part.parquet", "rejected.parquet", "commit.json"}
        assert leftovers <= {"attempts"}, number


def test_what_nobody_foresaw_rejects_the_take_and_says_what_it_was(take, tmp_path, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(take_rows, "view_row", lambda *_, **__: fail())
    record = run(take, tmp_path / "work")
    assert [(r.reason, r.detail) for r in record.rejects] == [("failed", "ZeroDivisionError: two lines")]
    assert record.instants == ()
    assert rows_of(tmp_path / "work") == []


@pytest.mark.parametrize("error", [MachineError("an actor died"), MemoryError(), OSError("gone")])
def test_a_machine_that_fails_is_no_fault_of_the_take(take, tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(take_rows, "view_row", lambda *_, **__: fail())
    with pytest.raises(type(error)):
        run(take, tmp_path / "work")
    assert not (tmp_path / "work" / "commit.json").exists()


def test_a_full_disk_is_no_fault_of_the_take(take, tmp_path, monkeypatch):
    monkeypatch.setattr(take_work.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"16 views need about 0\.0 GiB, 0\.0 GiB are free"):
        run(take, tmp_path / "work")
    assert not (tmp_path / "work" / "commit.json").exists()
    assert not (tmp_path / "work" / "attempts").exists()
