import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from mlflow import MlflowClient
from moving_square import picture, write_take, write_video

from mas_ray.annotations import ReferenceJoints, read_reference, write_reference
from mas_ray.config import codec
from mas_ray.config.ingest import (
    CropConfig,
    CurationConfig,
    FrameSampling,
    MotionMasks,
    ProvidedMasks,
    SplitBySubject,
    SplitByTail,
)
from mas_ray.config.jobs import IngestJob, Workers
from mas_ray.ingest import commit, fingerprint
from mas_ray.pipelines import ingest as pipeline
from mas_ray.pipelines.dataset_lock import locked
from mas_ray.pipelines.ingest import ingest
from mas_ray.pipelines.ingest_workers import TakeFailedError
from mas_ray.shards.manifest import InstantRange, Statistics, damaged_shards, digest_rows, read_manifest, write_manifest
from mas_ray.shards.read import read_dataset, read_split


def write_corpus(root, *, num_takes=3, num_frames=8):
    for i in range(num_takes):
        write_take(root / f"take{i}", num_frames=num_frames, subject=f"s{i}")
    joints = ReferenceJoints(
        instants=np.arange(2), joints_world_mm=np.zeros((2, 18, 3)), valid=np.ones((2, 18), bool), source="a test"
    )
    write_reference(root / "take0" / "reference.parquet", joints)
    (root / "broken.mp4").write_text("not a video")
    return root


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("pristine") / "corpus")


@pytest.fixture
def job(corpus, tmp_path):
    root = shutil.copytree(corpus, tmp_path / "corpus")
    return IngestJob(
        root=str(root),
        output=str(tmp_path / "dataset"),
        annotations=str(tmp_path / "annotations"),
        masks=ProvidedMasks(),
        crop=CropConfig(size_px=64),
        curation=None,  # the takes show the same
    )


def snapshot(job):
    """Everything of the dataset that readers see, but the job's own record."""
    output = Path(job.output)
    files = [path for path in output.rglob("*") if path.is_file() and "work" not in path.relative_to(output).parts]
    return {str(path.relative_to(output)): path.read_bytes() for path in files if path.name != "job.json"}


def keys(job, split=None):
    output = Path(job.output)
    manifest = read_manifest(output / "manifest.json")
    rows = read_split(output, manifest, split) if split else read_dataset(output, manifest)
    return [(row["take_id"], row["instant"]) for row in rows]


def shards(job):
    """The path of the shard of each take of the newest version."""
    manifest = read_manifest(Path(job.output) / "manifest.json")
    return {take_id: Path(job.output) / shard.path for shard in manifest.shards for take_id in shard.takes}


def earlier(job, version):
    return Path(job.output) / f"manifest-{version}.json"


def contents(manifest_path):
    """All rows of a version, in an order that does not depend on the shards."""
    rows = read_dataset(manifest_path.parent, read_manifest(manifest_path))
    return sorted(rows, key=lambda row: (row["take_id"], row["instant"]))


def age(folder, *, by_s=10):
    """Set the clock of ingest's eyes forward: what is in a folder was written a while ago."""
    for path in folder.rglob("*"):
        os.utime(path, ns=(time.time_ns() - by_s * 10**9,) * 2)


def test_dataset(job, ingested, capfd):
    manifest = ingest(job)
    output = Path(job.output)
    assert read_manifest(output / "manifest.json") == manifest
    assert damaged_shards(output, manifest) == ()
    assert [(shard.rows, shard.takes) for shard in manifest.shards] == [(16, ("take0", "take1")), (8, ("take2",))]
    assert keys(job) == keys(job, "train") == [(f"take{t}", i) for t in range(3) for i in range(8)]
    assert [(r.level, r.reason, r.count) for r in manifest.rejects] == [
        ("take", "unreadable_video", 1),
        ("view", "no_person", 3),
    ]
    rejects = [json.loads(line) for line in (output / "rejects.jsonl").read_text().splitlines()]
    assert len(rejects) == 4
    assert codec.loads(IngestJob, (output / "job.json").read_text()) == job
    assert str(output.parent) not in (output / "manifest.json").read_text()
    assert not list(output.rglob("part.parquet"))
    assert not list(output.rglob("*.partial*"))
    assert (manifest.version, manifest.rows_sha256) == (1, digest_rows(manifest.takes))
    assert manifest.statistics == Statistics(num_takes=3, num_instants=24, num_frames=45, hours=24 / 25 / 3600)
    assert manifest.key == next(path.name for path in (output / "work").iterdir() if path.is_dir())
    assert [path.name for path in Path(job.annotations).iterdir()] == ["take0.parquet"]
    assert read_reference(Path(job.annotations) / "take0.parquet").source == "a test"
    capfd.readouterr()


def test_finished_dataset_returns_at_once(job, ingested, monkeypatch, capfd):
    manifest = ingest(job)
    before = snapshot(job)
    ingested.clear()
    monkeypatch.setattr(pipeline.session, "connect", lambda: pytest.fail("Ray is not needed"))
    assert ingest(job) == manifest
    assert ingested == []
    assert snapshot(job) == before
    assert "manifest.json is complete, nothing to do" in capfd.readouterr().err


@pytest.mark.parametrize("damage", ["delete", "truncate"])
def test_damaged_shard_redoes_its_takes_alone(job, ingested, damage):
    ingest(job)
    before = snapshot(job)
    ingested.clear()
    shard = shards(job)["take2"]
    if damage == "delete":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:-20])
    ingest(job)
    assert ingested == ["take2"]
    assert snapshot(job) == before


def test_lost_manifest_is_rebuilt(job, ingested):
    ingest(job)
    before = snapshot(job)
    (Path(job.output) / "manifest.json").unlink()
    ingest(job)
    assert snapshot(job) == before


def test_place_and_workers_do_not_show(job, ingested, tmp_path):
    ingest(job)
    other = replace(job, output=str(tmp_path / "other" / "place"), workers=Workers(num=2, cpus_each=2.0))
    ingest(other)
    assert snapshot(other) == snapshot(job)


def test_a_finished_ingest_reads_no_clip_shard_or_part(job, ingested, monkeypatch):
    age(Path(job.root))
    monkeypatch.setattr(fingerprint, "_SETTLED_NS", 0)  # the change time cannot be set back
    manifest = ingest(job)
    monkeypatch.setattr(fingerprint, "file_sha256", lambda path: pytest.fail(f"{path} is read"))
    monkeypatch.setattr(commit, "read_record", lambda *_: pytest.fail("a record is read"))
    assert ingest(job) == manifest


def test_a_touched_or_copied_corpus_is_the_same(job, ingested):
    before = ingest(job)
    ingested.clear()
    age(Path(job.root), by_s=1000)
    assert ingest(job) == before
    assert ingested == []


def test_new_take_extends_the_dataset(job, ingested, tmp_path):
    ingest(job)
    before = snapshot(job)
    ingested.clear()
    write_take(Path(job.root) / "anew", num_frames=5, subject="s9")
    manifest = ingest(job)
    assert ingested == ["anew"]
    assert (manifest.version, [take.take_id for take in manifest.takes]) == (2, ["anew", "take0", "take1", "take2"])
    grown = snapshot(job)
    assert grown.pop("manifest-1.json") == before.pop("manifest.json")
    del before["rejects.jsonl"], before["rejected.parquet"]
    assert {name: grown[name] for name in before} == before
    assert len(grown) == len(before) + 4  # its shard, the manifest and the rejects with their pictures
    fresh = replace(job, output=str(tmp_path / "fresh"))
    assert ingest(fresh).rows_sha256 == manifest.rows_sha256 != read_manifest(earlier(job, 1)).rows_sha256
    assert contents(Path(job.output) / "manifest.json") == contents(tmp_path / "fresh" / "manifest.json")
    assert [row["take_id"] for row in contents(earlier(job, 1))] == [f"take{t}" for t in range(3) for _ in range(8)]


def test_changed_input_is_done_again_and_the_version_before_stays(job, ingested, tmp_path):
    first = ingest(job)
    before, rows_before = snapshot(job), contents(Path(job.output) / "manifest.json")
    ingested.clear()
    take = Path(job.root) / "take1"
    description = json.loads((take / "calibration" / "cameras.json").read_text())
    description["cameras"]["cam1"]["translation"] = [0.5, 0.0, 3.0]
    (take / "calibration" / "cameras.json").write_text(json.dumps(description))
    second = ingest(job)
    assert ingested == ["take1"]
    assert [shard.takes for shard in second.shards] == [("take0",), ("take2",), ("take1",)]
    assert second.shards[1] == first.shards[1]
    fresh = replace(job, output=str(tmp_path / "fresh"))
    assert ingest(fresh).rows_sha256 == second.rows_sha256
    assert contents(Path(job.output) / "manifest.json") == contents(tmp_path / "fresh" / "manifest.json")
    assert contents(earlier(job, 1)) == rows_before
    after = snapshot(job)
    assert {name: after[name] for name in before if name.startswith("shards")} == {
        name: data for name, data in before.items() if name.startswith("shards")
    }


def test_takes_of_a_manifest_without_statistics_are_done_again(job, ingested):
    first = ingest(job)
    before = contents(Path(job.output) / "manifest.json")
    ingested.clear()
    takes = tuple(replace(take, num_frames=0, seconds=0.0) for take in first.takes)
    write_manifest(Path(job.output) / "manifest.json", replace(first, takes=takes, statistics=Statistics()))
    second = ingest(job)
    assert (second.takes, second.shards) == (first.takes, first.shards)
    assert second.statistics == first.statistics
    assert contents(Path(job.output) / "manifest.json") == before


def test_removed_take_leaves(job, ingested):
    ingest(job)
    ingested.clear()
    shutil.rmtree(Path(job.root) / "take2")
    manifest = ingest(job)
    assert ingested == []
    assert keys(job) == [(f"take{t}", i) for t in range(2) for i in range(8)]
    assert len(manifest.shards) == 1


def test_lost_newest_manifest_is_rebuilt_from_the_one_before(job, ingested):
    ingest(job)
    write_take(Path(job.root) / "anew", num_frames=5, subject="s9")
    ingest(job)
    before = snapshot(job)
    (Path(job.output) / "manifest.json").unlink()
    ingested.clear()
    ingest(job)
    assert ingested == ["anew"]
    assert snapshot(job) == before


@pytest.mark.parametrize("moment", ["while hashed", "while ingested"])
def test_a_clip_that_grows_is_a_reject_of_this_run_alone(job, ingested, monkeypatch, moment):
    clip = Path(job.root) / "take1" / "videos" / "cam0.mp4"
    real = fingerprint.file_sha256 if moment == "while hashed" else pipeline.ingest_on_ray

    def growing(*arguments, **keywords):
        done = real(*arguments, **keywords)
        if moment == "while ingested" or arguments[0] == clip:
            with clip.open("ab") as file:
                file.write(b"x")
        return done

    with monkeypatch.context() as patch:
        owner = (fingerprint, "file_sha256") if moment == "while hashed" else (pipeline, "ingest_on_ray")
        patch.setattr(*owner, growing)
        manifest = ingest(job)
    assert [take.take_id for take in manifest.takes] == ["take0", "take2"]
    assert ("take", "changed_while_read", 1) in [(r.level, r.reason, r.count) for r in manifest.rejects]
    ingested.clear()
    assert [take.take_id for take in ingest(job).takes] == ["take0", "take1", "take2"]
    assert ingested == ["take1"]


def test_a_clip_that_cannot_be_read_stops_no_other(job, ingested, monkeypatch):
    clip = Path(job.root) / "take1" / "videos" / "cam0.mp4"
    real = fingerprint.file_sha256

    def refusing(path):
        if path == clip:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(fingerprint, "file_sha256", refusing)
    manifest = ingest(job)
    assert ("take", "unreadable_file", 1) in [(r.level, r.reason, r.count) for r in manifest.rejects]
    assert [take.take_id for take in manifest.takes] == ["take0", "take2"]


def test_other_parameters_make_another_dataset(job, ingested, tmp_path):
    ingest(job)
    sparse = replace(job, sampling=FrameSampling(stride=3))
    manifest = ingest(sparse)
    assert keys(sparse) == [(f"take{t}", i) for t in range(3) for i in (0, 3, 6)]
    fresh = replace(sparse, output=str(tmp_path / "fresh"))
    assert replace(ingest(fresh), version=2) == manifest
    assert snapshot(fresh).keys() <= snapshot(sparse).keys()


def test_other_split_needs_no_work(job, ingested):
    ingest(job)
    ingested.clear()
    manifest = ingest(replace(job, split=SplitByTail(test=2, gap=1, validation=1)))
    assert ingested == []
    assert manifest.shards == read_manifest(earlier(job, 1)).shards
    assert manifest.splits.test[0] == InstantRange(take_id="take0", start=6, stop=8)
    with pytest.raises(ValueError, match="unknown subject 'nobody'; the dataset has s0, s1, s2"):
        ingest(replace(job, split=SplitBySubject(validation=(), test=("nobody",))))


def test_masks_that_no_take_provides_are_missed_at_once(job, ingested, tmp_path):
    (tmp_path / "bare").mkdir()
    write_video(tmp_path / "bare" / "clip.mp4", [picture(frame, 0) for frame in range(4)])
    with pytest.raises(ValueError, match=r"^masks: 1 takes of .*bare provide none, such as clip\.mp4; choose"):
        pipeline.ingest(replace(job, root=str(tmp_path / "bare")))
    assert ingested == []


def test_too_many_rejected_takes(job, ingested, tmp_path):
    for i in (1, 2):
        (Path(job.root) / f"take{i}" / "videos" / "cam1.mp4").write_text("not a video")
    tracked = replace(job, tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(
        ValueError, match=r"3 of 4 takes yield nothing \(at most 50% may\); most often unreadable_video"
    ):
        ingest(tracked)
    assert not (Path(job.output) / "manifest.json").exists()
    client = MlflowClient(tracking_uri=tracked.tracking_uri)
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert run.info.status == "FAILED"
    assert len(ingest(replace(job, max_reject_fraction=0.8)).takes) == 1


def test_a_crashing_take_is_set_aside(job, ingested, monkeypatch):
    real = commit.num_deaths
    monkeypatch.setattr(commit, "num_deaths", lambda f, c, s=None: 3 if f.name == "take1" else real(f, c, s))
    manifest = ingest(job)
    assert [take.take_id for take in manifest.takes] == ["take0", "take2"]
    assert ("crashed", 1) in [(reject.reason, reject.count) for reject in manifest.rejects]


def test_folders_are_checked(job, ingested, tmp_path):
    with pytest.raises(ValueError, match=r"annotations: .* lie inside one another"):
        ingest(replace(job, annotations=f"{job.output}/annotations"))
    with pytest.raises(ValueError, match=r"annotations: .* lie inside one another"):
        ingest(replace(job, annotations=str(tmp_path)))
    with pytest.raises(ValueError, match=r"output: .* lies inside the corpus"):
        ingest(replace(job, output=f"{job.root}/dataset"))
    apart = replace(job, annotations=None)
    with pytest.raises(ValueError, match=r"root: .* lies inside the dataset"):  # gc would tidy it up
        ingest(replace(apart, output=str(tmp_path)))
    with pytest.raises(ValueError, match=r"root: .* lies inside the work folder"):
        ingest(replace(apart, work=str(tmp_path)))
    with pytest.raises(ValueError, match="no such folder"):
        ingest(replace(job, root=str(tmp_path / "nowhere")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no takes"):
        ingest(replace(job, root=str(tmp_path / "empty")))


@pytest.mark.parametrize("name", ["rejects.jsonl", "rejected.parquet", "job.json"])
def test_a_file_that_was_deleted_comes_back(job, ingested, name):
    first = ingest(job)
    content = (Path(job.output) / name).read_bytes()
    (Path(job.output) / name).unlink()
    ingested.clear()
    assert ingest(job) == first
    assert ingested == []
    assert (Path(job.output) / name).read_bytes() == content


@pytest.mark.slow
@pytest.mark.ray
def test_too_many_takes_without_anything_stop_the_rest(tmp_path):
    for i in range(300):
        (tmp_path / "corpus").mkdir(exist_ok=True)
        (tmp_path / "corpus" / f"{i:03d}.mp4").write_text(f"no video {i}")
    job = IngestJob(
        root=str(tmp_path / "corpus"),
        output=str(tmp_path / "dataset"),
        masks=MotionMasks(),
        max_reject_fraction=0.01,
    )
    with pytest.raises(TakeFailedError, match=r"too many takes yield nothing \(\d+ unreadable_video\).* allows 3 more"):
        ingest(job)
    assert len(list((tmp_path / "dataset").rglob("commit.json"))) < 300


def test_two_ingests_into_one_folder(job, ingested):
    with (
        locked(Path(job.output) / "work", Path(job.output)),
        pytest.raises(ValueError, match="another process is writing"),
    ):
        ingest(job)
    ingest(job)


def command(job, folder):
    """The job as a user runs it, without colours."""
    record = folder / f"{Path(job.output).name}.json"
    record.write_text(codec.dumps(job))
    return [sys.executable, "-m", "mas_ray.cli.main", "ingest", "--job", str(record)]


def run(job, folder):
    return subprocess.run(command(job, folder), capture_output=True, text=True, timeout=200, check=False)


def wait_for(found, process):
    deadline = time.monotonic() + 120
    while not (result := found()):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return result


@pytest.mark.ray
@pytest.mark.slow
def test_on_ray_killed_and_repaired(tmp_path):
    """The whole pipeline in processes of its own: quiet, repeatable, killable."""
    root = write_corpus(tmp_path / "corpus", num_frames=60)
    job = IngestJob(
        root=str(root),
        output=str(tmp_path / "calm"),
        masks=ProvidedMasks(),
        crop=CropConfig(size_px=64),
        curation=None,
        workers=Workers(num=2),
    )
    done = run(job, tmp_path)
    assert done.returncode == 0, done.stderr
    first, *others = done.stderr.splitlines()
    assert first == "starting Ray on this machine"
    assert all(line.startswith("ingest: ") for line in others), done.stderr
    before = snapshot(job)
    assert len(keys(job)) == 180

    next(tmp_path.glob("calm/shards/*.parquet")).unlink()
    assert run(job, tmp_path).returncode == 0
    assert snapshot(job) == before

    stormy = replace(job, output=str(tmp_path / "stormy"), workers=Workers(num=1))
    with subprocess.Popen(command(stormy, tmp_path), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: list(tmp_path.glob("stormy/work/*/take0/attempts")), process)
        children = psutil.Process(process.pid).children(recursive=True)
        (worker,) = [child for child in children if "MapWorker" in "".join(child.cmdline())]
        worker.send_signal(signal.SIGKILL)  # the pool replaces it
        wait_for(lambda: list(tmp_path.glob("stormy/work/*/take1/attempts")), process)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "stormy" / "manifest.json").exists()
    assert run(stormy, tmp_path).returncode == 0
    assert snapshot(stormy) == before


@pytest.mark.ray
@pytest.mark.slow
def test_interrupt_ends_cleanly_and_counts_no_attempt(tmp_path):
    root = write_corpus(tmp_path / "corpus", num_frames=60)
    job = IngestJob(
        root=str(root), output=str(tmp_path / "out"), masks=ProvidedMasks(), crop=CropConfig(size_px=64), curation=None
    )
    with subprocess.Popen(command(job, tmp_path), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        wait_for(lambda: list(tmp_path.glob("out/work/*/take0/attempts")), process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in out + err
    assert not list(tmp_path.glob("out/work/*/*/attempts"))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_exact_copies_are_left_out_and_later_ones_displace_nobody(job, ingested):
    curated = replace(job, curation=CurationConfig(), max_reject_fraction=0.9)
    manifest = ingest(curated)
    assert [take.take_id for take in manifest.takes] == ["take0"]
    assert ("duplicate", 2) in [(reject.reason, reject.count) for reject in manifest.rejects]
    assert ingested == ["broken.mp4", "take0"]
    rejects = [json.loads(line) for line in (Path(job.output) / "rejects.jsonl").read_text().splitlines()]
    assert "like take0, which is kept" in [reject["detail"] for reject in rejects if reject["take_id"] == "take2"]
    shutil.copytree(Path(job.root) / "take0", Path(job.root) / "a_copy_that_comes_first")
    assert [take.take_id for take in ingest(curated).takes] == ["take0"]


def test_sources_that_cannot_be_takes_are_counted(job, ingested):
    (Path(job.root) / "loop.mp4").symlink_to("loop.mp4")
    manifest = ingest(job)
    assert ("unsafe_link", 1) in [(reject.reason, reject.count) for reject in manifest.rejects]
    ingested.clear()
    assert ingest(job) == manifest
    assert ingested == []
    (Path(job.root) / "loop.mp4").unlink()
    assert "unsafe_link" not in [reject.reason for reject in ingest(job).rejects]
