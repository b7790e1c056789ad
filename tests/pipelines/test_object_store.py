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
from mas_ray.pipelines.claim import check_inputs
from mas_ray.pipelines.ingest import ingest
from mas_ray.shards.location import files_below, location, names_in
from mas_ray.shards.manifest import file_sha256, read_manifest
from mas_ray.shards.read import read_dataset
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
def job(tmp_path, bucket):
    """Corpus and dataset in the store; the same corpus lies in ``corpus``."""
    upload(write_corpus(tmp_path / "corpus"), f"{bucket}/corpus")
    return IngestJob(
        root=f"{bucket}/corpus",
        output=f"{bucket}/dataset",
        work=str(tmp_path / "work"),
        annotations=str(tmp_path / "annotations"),
        masks=ProvidedMasks(),
        crop=CropConfig(size_px=64),
        curation=None,  # the takes show the same
    )


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
    assert not list(Path(job.work).rglob("*.partial-*"))


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
    assert main(["gc", job.output]) == 1
    assert "work: " in capsys.readouterr().err
    assert main(["requeue", job.output, "--work", job.work, "--reason", "unreadable_video"]) == 0


def test_a_take_that_changes_after_the_listing_is_set_aside(job, tmp_path, ingested, monkeypatch):
    from mas_ray.corpora import remote
    from mas_ray.ingest import take_work

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


def test_a_work_folder_belongs_to_one_dataset(job, tmp_path, ingested, capsys):
    (tmp_path / "home" / "photos").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"work: .*home holds other things; expected a folder of its own"):
        ingest(replace(job, work=str(tmp_path / "home")))
    ingest(job)
    with pytest.raises(ValueError, match=r"work: .* holds fsspec\+memory://.*/dataset; expected a folder of its own"):
        ingest(replace(job, output=f"{job.output}2"))
    assert main(["gc", job.output, "--work", str(tmp_path / "home")]) == 1
    (Path(job.work) / "mine").mkdir()
    assert main(["gc", job.output, "--work", job.work]) == 0
    assert (Path(job.work) / "mine").is_dir()
    assert (tmp_path / "home" / "photos").is_dir()
    with pytest.raises(ValueError, match=r"work: .* is on a disk, where takes are made in .*work; leave it away"):
        ingest(replace(on_disk(job, tmp_path), work=job.work))


def test_a_dataset_in_a_store_needs_a_work_folder(job):
    with pytest.raises(ValueError, match=r"^work: fsspec.* is no disk; name a folder"):
        ingest(replace(job, work=None))
    with pytest.raises(ValueError, match=r"lies inside the corpus"):
        ingest(replace(job, output=f"{job.root}/dataset"))
    with pytest.raises(ValueError, match=r"annotations: expected a folder on a disk"):
        ingest(replace(job, annotations=f"{job.output}-annotations"))
    with pytest.raises(ValueError, match=r"no such folder"):
        ingest(replace(job, root=f"{job.root}/nowhere"))


@pytest.mark.slow
@pytest.mark.ray
def test_ray_workers_ingest_from_s3_to_s3(job, tmp_path, s3):
    """Listing, fetching, shards and manifest through S3's protocol, by worker processes."""
    upload(tmp_path / "corpus", s3("corpus"))
    job = replace(job, root=s3("corpus"), output=s3("sets/one"), workers=Workers(num=2))
    manifest = ingest(job)
    assert [take.take_id for take in manifest.takes] == ["take0", "take1", "take2"]
    assert ingest(job) == manifest
    assert main(["verify", job.output]) == 0


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
