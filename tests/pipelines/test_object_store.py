"""A corpus and a dataset in an object store: the same rows, shards and manifest as on a disk."""

import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

import psutil
import pyarrow.fs as pafs
import pytest
from moving_square import write_take
from test_ingest import write_corpus

from mas_ray.cli.main import main
from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.ingest import CropConfig, ProvidedMasks
from mas_ray.config.jobs import IngestJob, TrainJob, Workers
from mas_ray.ingest import commit, take_in_store, take_work
from mas_ray.ingest.take_work import ingest_take
from mas_ray.pipelines import ingest as pipeline
from mas_ray.pipelines import kept_folder, lease
from mas_ray.pipelines.claim import check_inputs
from mas_ray.pipelines.ingest import ingest
from mas_ray.shards.location import files_below, location, names_in
from mas_ray.shards.manifest import file_sha256, read_manifest
from mas_ray.shards.read import read_dataset
from mas_ray.shards.transfer import list_tree
from mas_ray.shards.write import write_text
from mas_ray.tracking.spool import read_spool


def upload(folder: Path, address: str) -> None:
    target = location(address)
    for file in folder.rglob("*"):
        if file.is_file():
            path = f"{target.path}/{file.relative_to(folder)}"
            pafs.copy_files(
                str(file), path, source_filesystem=pafs.LocalFileSystem(), destination_filesystem=target.filesystem
            )


@pytest.fixture
def bucket():
    return f"fsspec+memory://{uuid.uuid4()}"


@pytest.fixture
def in_store(tmp_path, bucket, monkeypatch):
    """Corpus, dataset and takes in the making are in the store; the same corpus lies in ``corpus``."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(lease, "_SETTLE_S", 0.0)
    upload(write_corpus(tmp_path / "corpus"), f"{bucket}/corpus")
    return IngestJob(
        root=f"{bucket}/corpus",
        output=f"{bucket}/dataset",
        work=f"{bucket}/work",
        annotations=str(tmp_path / "annotations"),
        masks=ProvidedMasks(),
        crop=CropConfig(size_px=64),
        curation=None,  # the takes show the same
    )


@pytest.fixture(params=["disk", "store"])
def job(in_store, tmp_path, request):
    """The same with takes in the making on a disk, or there too."""
    return replace(in_store, work=str(tmp_path / "work")) if request.param == "disk" else in_store


def on_disk(job, tmp_path):
    """The same job with everything on a disk."""
    return replace(
        job,
        root=str(tmp_path / "corpus"),
        output=str(tmp_path / "dataset"),
        work=None,
        annotations=str(tmp_path / "annotations2"),
    )


def test_a_store_holds_what_a_disk_would(job, tmp_path, ingested, capsys):
    manifest = ingest(job)
    assert manifest == ingest(on_disk(job, tmp_path))
    assert ingested == ["broken.mp4", "take0", "take1", "take2"] * 2
    there = location(job.output)
    assert names_in(there) == ["job.json", "manifest.json", "rejected.parquet", "rejects.jsonl", "shards"]
    rows, expected = (list(read_dataset(folder, manifest)) for folder in (there, tmp_path / "dataset"))
    assert rows == expected
    assert names_in(tmp_path / "annotations") == ["take0.parquet"]
    assert main(["verify", job.output]) == 0
    assert main(["show", job.output, "--contact-sheet", str(tmp_path / "sheet.html")]) == 0
    assert "unreadable_video" in capsys.readouterr().out
    assert not any("partial" in str(path) or path.name == "part.parquet" for path, _ in files_below(location(job.work)))
    assert not list(tmp_path.rglob("*.partial-*"))


def test_what_is_in_the_store_is_not_done_again(job, tmp_path, ingested):
    first = ingest(job)
    ingested.clear()
    assert ingest(job) == first
    assert ingested == []
    upload(write_take(tmp_path / "more" / "take3").parent, job.root)
    second = ingest(job)
    assert ingested == ["take3"]
    assert second.version == 2
    assert first.shards == second.shards[: len(first.shards)]
    assert read_manifest(location(job.output) / "manifest-1.json") == first


def test_a_lost_shard_in_the_store_is_made_again(job, ingested):
    first = ingest(job)
    ingested.clear()
    (location(job.output) / first.shards[0].path).unlink()
    assert main(["verify", job.output]) == 1
    assert ingest(job).shards == first.shards
    assert ingested == ["take0", "take1"]
    assert main(["verify", job.output]) == 0


def test_gc_and_requeue_in_a_store(job, ingested, capsys):
    ingest(job)
    taken = location(f"{job.root}/take2/videos/cam0.mp4")
    taken.unlink()
    second = ingest(job)
    capsys.readouterr()
    assert main(["gc", job.output, "--work", job.work]) == 0
    out = capsys.readouterr().out
    assert "removed manifest-1.json" in out
    kept = {Path(shard.path).name for shard in second.shards}
    assert set(names_in(location(job.output) / "shards")) == kept
    assert main(["requeue", job.output, "--work", job.work, "--reason", "unreadable_video"]) == 0


def test_a_take_that_changes_after_the_listing_is_set_aside(job, tmp_path, ingested, monkeypatch):
    from mas_ray.corpora import remote

    real = remote.fetched

    def changed(filesystem, take, scratch):
        if take.take_id == "take1":
            with filesystem.open_output_stream(take.clips[0].video) as file:
                file.write(b"another")
        return real(filesystem, take, scratch)

    monkeypatch.setattr(take_work, "fetched", changed)
    manifest = ingest(job)
    assert [take.take_id for take in manifest.takes] == ["take0", "take2"]
    assert ("changed_while_read", 1) in [(reject.reason, reject.count) for reject in manifest.rejects]


def test_a_work_folder_belongs_to_one_dataset(job, tmp_path, bucket, ingested, capsys):
    home = location(job.work).parent / "home"
    write_text(home / "photos" / "one", "mine")
    with pytest.raises(ValueError, match=r"work: .*home holds other things; expected a folder of its own"):
        ingest(replace(job, work=str(home)))
    ingest(job)
    with pytest.raises(ValueError, match=r"work: .* holds fsspec\+memory://.*/dataset; expected a folder of its own"):
        ingest(replace(job, output=f"{job.output}2"))
    assert main(["gc", job.output, "--work", str(home)]) == 1
    write_text(location(job.work) / "mine" / "one", "mine")
    assert main(["gc", job.output, "--work", job.work]) == 0
    assert names_in(location(job.work) / "mine") == names_in(home / "photos") == ["one"]
    with pytest.raises(ValueError, match=r"work: .* is on a disk, where takes are made in .*work; leave it away"):
        ingest(replace(on_disk(job, tmp_path), work=job.work))


def test_without_a_work_folder_takes_are_made_beside_the_shards(in_store, tmp_path, ingested):
    job = replace(in_store, work=None)
    manifest = ingest(job)
    assert manifest == ingest(on_disk(job, tmp_path))
    there = {name.rpartition("/")[2] for name in list_tree(location(job.output) / "work")}
    assert there == {"dataset", "finished.json", "commit.json", "rejected.parquet"}
    assert main(["verify", job.output]) == 0
    assert main(["gc", job.output, "--dry-run"]) == 0


def test_what_is_read_and_what_is_written_lie_apart(job, s3):
    with pytest.raises(ValueError, match=r"output: .* lies inside the corpus"):
        ingest(replace(job, output=f"{job.root}/dataset"))
    with pytest.raises(ValueError, match=r"work: .* lies inside the corpus"):
        ingest(replace(job, work=f"{job.root}/work"))
    with pytest.raises(ValueError, match=r"output: .* lies inside the work folder"):
        ingest(replace(job, work=job.output))
    with pytest.raises(ValueError, match=r"output: .* lies inside the corpus"):
        ingest(replace(job, root=s3("corpus"), output=s3("corpus/dataset")))
    with pytest.raises(ValueError, match=r"annotations: expected a folder on a disk"):
        ingest(replace(job, annotations=f"{job.output}-annotations"))
    with pytest.raises(ValueError, match=r"no such folder"):
        ingest(replace(job, root=f"{job.root}/nowhere"))


class _Killed(BaseException):
    """Stands for the end of a worker's process."""


def test_another_host_does_only_what_is_missing(in_store, tmp_path, ingested, monkeypatch):
    """Of a finished dataset it asks for nothing, of one that was killed before its shards for the rest."""
    first = ingest(in_store)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "second"))
    ingested.clear()
    assert ingest(in_store) == first
    upload(write_take(tmp_path / "more" / "take3").parent, in_store.root)

    def killed(*args):
        raise _Killed

    with monkeypatch.context() as dying:
        dying.setattr(pipeline, "assemble", killed)
        with pytest.raises(_Killed):
            ingest(in_store)
    assert ingested == ["take3"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "third"))
    assert ingest(in_store).version == 2
    assert ingested == ["take3"]


def test_an_idle_ingest_fetches_no_take(s3, in_store, tmp_path, ingested, monkeypatch):
    where = uuid.uuid4().hex
    upload(tmp_path / "corpus", s3(f"{where}/corpus"))
    job = replace(in_store, root=s3(f"{where}/corpus"), output=s3(f"{where}/set"), work=None)
    first = ingest(job)

    def unasked(*args):
        raise AssertionError("asked for a file of a take")

    monkeypatch.setattr(kept_folder, "fetch", unasked)
    assert ingest(job) == first


def test_a_take_that_kills_its_worker_is_counted_in_the_store_and_set_aside(in_store, tmp_path, ingested, monkeypatch):
    """The journal is there before the attempt: another worker, on another machine, reads it."""
    journals, real = [], take_work._rows

    def deadly(item, settings, findings, *, advance, begin):
        if item.take.take_id == "take1":
            journals.append((settings.work / "take1" / "attempts").read_text().count("\n"))
            raise _Killed
        return real(item, settings, findings, advance=advance, begin=begin)

    def in_workers(todo, settings, workers, *, most_empty, watch):
        for item in todo:
            for _ in range(job.max_attempts + 1):
                try:
                    with monkeypatch.context() as dead:
                        dead.setattr(commit, "forget_attempt", lambda folder, session: None)
                        dead.setattr(take_in_store, "_bring_journal", _first_of_each(take_in_store._bring_journal))
                        ingest_take(item, settings, advance=lambda tally: None)
                    break
                except _Killed:
                    continue

    job = in_store
    monkeypatch.setattr(take_work, "_rows", deadly)
    monkeypatch.setattr(pipeline, "ingest_on_ray", in_workers)
    manifest = ingest(job)
    assert journals == [1, 2, 3]
    assert [take.take_id for take in manifest.takes] == ["take0", "take2"]
    assert ("crashed", 1) in [(reject.reason, reject.count) for reject in manifest.rejects]


def _first_of_each(bring):
    """What a process that dies in the attempt has done: the journal before it, not after it."""
    done = []

    def once(folder, store):
        if folder not in done:
            done.append(folder)
            bring(folder, store)

    return once


def test_a_worker_that_fails_leaves_nothing_in_the_store(in_store, ingested, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("the disk is full")

    monkeypatch.setattr(take_work, "_rows", fail)
    with pytest.raises(OSError, match="the disk is full"):
        ingest(in_store)
    assert {name.rpartition("/")[2] for name in list_tree(location(in_store.work))} <= {"dataset", "fingerprints.jsonl"}


def test_a_record_is_in_the_store_after_its_rows(in_store, ingested, monkeypatch):
    order, real = [], take_in_store.upload
    monkeypatch.setattr(take_in_store, "upload", lambda file, target: (order.append(target.name), real(file, target)))
    ingest(in_store)
    assert order[:4] == ["attempts", "part.parquet", "rejected.parquet", "commit.json"]


def test_interrupted_attempts_are_taken_back_in_the_store(in_store, ingested, monkeypatch):
    def interrupted(todo, settings, workers, *, most_empty, watch):
        line = f"attempt {settings.session} {todo[1].content}\n"
        write_text(settings.work / todo[1].take.take_id / "attempts", line)
        write_text(settings.work / todo[0].take.take_id / "attempts", "attempt another content\n")
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "ingest_on_ray", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ingest(in_store)
    journals = [name for name in list_tree(location(in_store.work)) if name.endswith("attempts")]
    assert len(journals) == 1, "that of another session alone"


def test_the_selfie_network_is_fetched_where_the_drivers_is_not(in_store, ingested, tmp_path, monkeypatch):
    asked = []

    def fetch(asset):
        asked.append(asset.name)
        return tmp_path / "here"

    seen, real = [], take_work._rows

    def rows(item, settings, findings, *, advance, begin):
        seen.append(settings.selfie_model)
        return real(item, settings, findings, advance=advance, begin=begin)

    def elsewhere(todo, settings, workers, *, most_empty, watch):
        settings = replace(settings, selfie_model=tmp_path / "gone" / "network.tflite")
        for item in todo:
            ingest_take(item, settings, advance=lambda tally: None)

    monkeypatch.setattr(take_work.assets, "fetch", fetch)
    monkeypatch.setattr(take_work, "_rows", rows)
    monkeypatch.setattr(pipeline, "ingest_on_ray", elsewhere)
    ingest(in_store)
    assert set(seen) == {tmp_path / "here" / "network.tflite"}


@pytest.mark.slow
@pytest.mark.ray
def test_ray_workers_ingest_from_s3_to_s3(in_store, tmp_path, s3):
    """Listing, fetching, takes, shards and manifest through S3's protocol, by worker processes."""
    where = uuid.uuid4().hex
    upload(tmp_path / "corpus", s3(f"{where}/corpus"))
    root, output = s3(f"{where}/corpus"), s3(f"{where}/set")
    job = replace(in_store, root=root, output=output, work=None, workers=Workers(num=2))
    manifest = ingest(job)
    assert [take.take_id for take in manifest.takes] == ["take0", "take1", "take2"]
    assert ingest(job) == manifest
    assert main(["verify", job.output]) == 0
    disk = ingest(on_disk(job, tmp_path))
    assert (disk.rows_sha256, disk.shards) == (manifest.rows_sha256, manifest.shards)


@pytest.mark.slow
@pytest.mark.ray
def test_training_from_s3_goes_on_from_its_checkpoints_there(tiny_dataset, tmp_path, s3):
    """The driver is killed after the first epoch; the run folder ends with the chosen checkpoint alone."""
    upload(tiny_dataset.manifest.parent, s3("set"))
    torso = replace(cpu_cascade().stages[0], learning_rates=((4, 2e-3),))
    job = TrainJob(
        manifest=s3("set/manifest.json"),
        storage=str(tmp_path / "runs"),
        checkpoints=s3("checkpoints"),
        cascade=replace(cpu_cascade(), stages=(torso,), steps_per_epoch=8),
    )
    assert check_inputs(job).manifest_sha256 == file_sha256(tiny_dataset.manifest)
    (tmp_path / "job.json").write_text(codec.dumps(job))
    command = [sys.executable, "-m", "mas_ray.cli.main", "train", "--job", str(tmp_path / "job.json")]
    stage = tmp_path / "runs" / job.name / "stages" / "0-torso"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    family = list[psutil.Process]()
    try:
        while not read_spool(stage / "metrics.jsonl"):
            assert process.poll() is None, "training ended before it could be killed"
            time.sleep(0.05)
        family = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.kill()
        process.wait()
        for orphan in psutil.wait_procs(family, timeout=60)[1]:
            orphan.kill()
    assert len(read_spool(stage / "metrics.jsonl")) < 4, "the stage was over"
    subprocess.run(command, check=True, timeout=300, stdout=subprocess.DEVNULL)

    epochs = read_spool(stage / "metrics.jsonl")
    assert [epoch["epoch"] for epoch in epochs] == [0, 1, 2, 3]
    best = min(epochs, key=lambda epoch: epoch["validation/reconstruction"])
    chosen = f"torso-epoch{best['epoch'] + 1:04d}"
    assert [path.parent.name for path in stage.glob("*/FORMAT")] == [chosen]
    (kept,) = [
        path
        for path, _ in files_below(location(job.checkpoints))
        if str(path).split("?")[0].endswith(f"{chosen}/model.pt")
    ]
    assert file_sha256(kept) == file_sha256(stage / chosen / "model.pt")
