from contextlib import nullcontext
from dataclasses import replace

import pyarrow.fs as pafs
import pytest

from mas_ray.config.ingest import SplitBySubject
from mas_ray.ingest.take_work import ingest_take
from mas_ray.pipelines import ingest as pipeline
from mas_ray.shards import compact
from mas_ray.shards.manifest import read_manifest, write_manifest
from mas_ray.shards.splits import plan_splits


@pytest.fixture
def ingested(monkeypatch):
    """Run the workers' code in this process; gives the takes that needed work."""
    done = []

    def here(todo, settings, workers, *, most_empty, watch):
        for item in todo:
            done.append(item.take.take_id)
            ingest_take(item, settings, advance=lambda tally: None)

    monkeypatch.setattr(pipeline, "ingest_on_ray", here)
    monkeypatch.setattr(pipeline.session, "connect", nullcontext)
    monkeypatch.setattr(pipeline.session, "require", lambda workers, what, beside: None)
    monkeypatch.setattr(compact, "SHARD_BYTES", 100_000)  # two takes of 81 kB
    return done


@pytest.fixture
def two_training_subjects(tiny_dataset, tmp_path):
    """The tiny dataset with nothing held out for validation: SPP needs two subjects to train on."""
    manifest = read_manifest(tiny_dataset.manifest)
    split = SplitBySubject(validation=(), test=("s02",))
    splits = plan_splits(
        split,
        {take.take_id: range(take.num_instants) for take in manifest.takes},
        {take.take_id: take.subject for take in manifest.takes},
    )
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "shards").symlink_to(tiny_dataset.manifest.parent / "shards")
    path = tmp_path / "dataset" / "manifest.json"
    write_manifest(path, replace(manifest, split_config=split, splits=splits))
    return replace(tiny_dataset, manifest=path)


@pytest.fixture
def s3(monkeypatch):
    """An S3 server on this machine; gives what makes an address in its bucket."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    pafs.S3FileSystem(
        endpoint_override=f"{host}:{port}", scheme="http", region="us-east-1", allow_bucket_creation=True
    ).create_dir("bucket")
    yield lambda path: f"s3://bucket/{path}?endpoint_override={host}%3A{port}&scheme=http&region=us-east-1"
    server.stop()
