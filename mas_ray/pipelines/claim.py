"""What a run folder is a run of: inputs checked before Ray starts, and a folder that never mixes two runs."""

from __future__ import annotations

import fcntl
import hashlib
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from mas_ray.checkpoint import checkpoint_folder, load_checkpoint
from mas_ray.config import codec
from mas_ray.config.cascade import CascadeConfig
from mas_ray.config.jobs import TrainJob
from mas_ray.geometry.naming import MOST_VIEWS
from mas_ray.pipelines.lease import BusyError
from mas_ray.pipelines.progress import note
from mas_ray.shards.location import Location, location
from mas_ray.shards.manifest import Manifest, damaged_shards, file_sha256, read_manifest
from mas_ray.shards.read import count_rows
from mas_ray.shards.splits import split_sizes
from mas_ray.shards.write import write_text
from mas_ray.training.order import num_steps


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What decides the weights of a run, but for the number of workers."""

    manifest_sha256: str
    cascade: CascadeConfig
    single_view_manifest_sha256: str | None = None
    initial_sha256: str | None = None
    """Of the initial checkpoint: its weights, how it predicts with them, and which side it calls left."""


def check_inputs(job: TrainJob) -> RunRecord:
    """Check everything that can be wrong with a job's inputs, and say what it would be a run of.

    Raises:
        ValueError: A dataset is missing, damaged, empty or too small, the single-view dataset, the initial checkpoint
            or the backbone's weights are not what the cascade needs, the batch does not divide among the workers, or
            there is a password in the job, which every checkpoint has a copy of.
    """
    if job.tracking_uri is not None and urlsplit(job.tracking_uri).password is not None:
        raise ValueError(
            "tracking_uri: credentials in an address end up in records; expected them in the environment "
            "(MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or what the database's own tools read)"
        )
    cascade, path = job.cascade, location(job.manifest)
    manifest = _read_dataset(path)
    num_steps(count_rows(path.parent, manifest, "train"), cascade.batch_size, cascade.steps_per_epoch)
    most_views = max(len(take.views) for take in manifest.takes)
    if most_views > MOST_VIEWS and any(stage.resolve_names for stage in cascade.stages):
        raise ValueError(
            f"{path}: a take has {most_views} views; a cascade with resolve_names takes {MOST_VIEWS} at most"
        )
    if most_views < 2 and job.yardstick is not None and job.yardstick.weights.reprojection > 0:
        raise ValueError(f"yardstick.weights.reprojection: no take of {path} has two views that could agree")
    sizes = split_sizes(manifest)
    note(f"train: {path}: {sizes}")
    if sizes.warning:
        note(f"train: {sizes.warning}")
    if not manifest.splits.validation:
        note(f"train: {path} holds nothing out; checkpoints are selected on the training split")
    if cascade.batch_size % job.workers.num:
        raise ValueError(
            f"cascade.batch_size: {cascade.batch_size} frame sets do not divide among {job.workers.num} workers"
        )
    if cascade.detector.norm == "batch" and job.workers.num > 1:
        raise ValueError("cascade.detector.norm: BatchNorm's statistics are not shared; train it with one worker")
    weights = cascade.detector.backbone_weights
    if weights is not None and not (Path(weights.path).is_file() and file_sha256(Path(weights.path)) == weights.sha256):
        raise ValueError(
            f"cascade.detector.backbone_weights: {weights.path} is missing or not of sha256 {weights.sha256}"
        )
    return RunRecord(
        manifest_sha256=file_sha256(path),
        cascade=cascade,
        single_view_manifest_sha256=_check_single_view(job),
        initial_sha256=_check_initial(job),
    )


def claim(run: Path, record: RunRecord) -> None:
    """Make a run folder this record's.

    Raises:
        ValueError: It is another's already; the message says in what they differ.
    """
    path = run / "run.json"
    if not path.is_file():
        write_text(path, codec.dumps(record))
        return
    found = codec.loads(RunRecord, path.read_text(), str(path))
    for field, difference in (
        ("manifest_sha256", "was trained on another dataset"),
        ("single_view_manifest_sha256", "was trained on another single-view dataset"),
        ("initial_sha256", "started from other weights"),
        ("cascade", "has another cascade"),
    ):
        if getattr(found, field) != getattr(record, field):
            raise ValueError(f"{path}: this run {difference}; choose another name or delete it")


def identity(run: Path) -> str:
    """What a run is known by outside its folder. Drawn once, so that a folder made anew is another run."""
    path = run / "id"
    if not path.is_file():
        write_text(path, uuid.uuid4().hex[:16])
    return path.read_text()


@contextmanager
def locked(run: Path) -> Generator[None]:
    """Keep other processes from training in a run folder, which is made if need be; ``BusyError`` if one is."""
    run.mkdir(parents=True, exist_ok=True)
    with (run / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{run}: another process is training this run") from None
        yield


def _read_dataset(path: Location) -> Manifest:
    """The manifest of a dataset that is whole and has something to train on."""
    manifest = read_manifest(path)
    damaged = damaged_shards(path.parent, manifest)
    if damaged:
        raise ValueError(f"{path.parent / damaged[0].path}: missing or damaged shard; run ingest again")
    if not manifest.splits.train:
        raise ValueError(f"{path}: the train split is empty")
    return manifest


def _check_single_view(job: TrainJob) -> str | None:
    """The digest of the single-view manifest, if the cascade needs one."""
    needing = [stage.name for stage in job.cascade.stages if stage.single_view_share > 0]
    if job.single_view_manifest is None:
        if needing:
            raise ValueError(f"single_view_manifest: stage {needing[0]!r} has a single_view_share; name a dataset")
        return None
    if not needing:
        raise ValueError("single_view_manifest: no stage of the cascade has a single_view_share; leave it away")
    path = location(job.single_view_manifest)
    for take in _read_dataset(path).takes:
        if len(take.views) != 1:
            raise ValueError(f"{path}: take {take.take_id} has {len(take.views)} views; expected single views only")
    return file_sha256(path)


def _check_initial(job: TrainJob) -> str | None:
    """The digest of the initial checkpoint's weights, if there is one, and it fits the cascade."""
    first = job.cascade.stages[0]
    if job.initial is None:
        if first.teacher is not None:
            raise ValueError(f"initial: the first stage, {first.name!r}, has a teacher; name the checkpoint to ask")
        return None
    folder = checkpoint_folder(job.initial)
    trained = load_checkpoint(folder).job.cascade
    for network in ("detector", "shape_prior"):
        theirs, ours = getattr(trained, network), getattr(job.cascade, network)
        for field in fields(ours):
            if field.name == "backbone_weights":  # where networks came from says nothing of their shape
                continue
            found, expected = getattr(theirs, field.name), getattr(ours, field.name)
            if found != expected:
                raise ValueError(
                    f"{folder}: cascade.{network}.{field.name} is {found!r} there, {expected!r} in this job"
                )
    return hashlib.sha256(
        "".join(file_sha256(folder / name) for name in ("model.pt", "job.json", "progress.json")).encode()
    ).hexdigest()
