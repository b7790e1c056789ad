"""A tiny synthetic dataset, made once per session by the project's own generator and ingest functions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import mas_ray
from mas_ray.annotations import ReferenceJoints, write_reference
from mas_ray.config.ingest import CropConfig, FrameSampling, MaskQualityConfig, ProvidedMasks, SplitBySubject
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import REFERENCE_SOURCE, Recording, frames, record
from mas_ray.corpora.take import Clip
from mas_ray.ingest.masks.method import PersonMask
from mas_ray.ingest.rows import Row, frame_set_row, view_row
from mas_ray.shards.manifest import (
    FORMAT,
    IngestParameters,
    Manifest,
    ShardEntry,
    TakeEntry,
    file_sha256,
    sum_statistics,
    write_manifest,
)
from mas_ray.shards.read import measure_rows
from mas_ray.shards.schema import SCHEMA_VERSION
from mas_ray.shards.splits import plan_splits
from mas_ray.shards.write import write_rows


@dataclass(frozen=True, kw_only=True)
class TinyDataset:
    """Three subjects, one take each: s00 trains, s01 validates, s02 tests; four views of eight instants."""

    manifest: Path
    annotations: Path


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database with nothing in it, to be copied: making its tables takes seconds."""
    from mas_ray.tracking.mlflow_runs import open_store

    folder = tmp_path_factory.mktemp("store")
    open_store(None, storage=folder)
    return folder / "mlflow.db"


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> TinyDataset:
    folder = tmp_path_factory.mktemp("tiny")
    config = SyntheticConfig(
        num_subjects=3, takes_per_subject=1, instants_per_take=8, fps=4, width_px=128, height_px=128
    )
    parameters = IngestParameters(
        masks=ProvidedMasks(),
        mask_quality=MaskQualityConfig(),
        crop=CropConfig(size_px=96),
        sampling=FrameSampling(),
    )
    takes: list[TakeEntry] = []
    shards: list[ShardEntry] = []
    for subject in range(config.num_subjects):
        recording = record(config, subject, 0)
        path = Path("shards") / f"part-{subject:05d}.parquet"
        rows = _rows(recording, parameters)
        num_rows = write_rows(folder / "dataset" / path, rows)
        digest = file_sha256(folder / "dataset" / path)
        num_frames, seconds = measure_rows(folder / "dataset" / path)
        takes.append(
            TakeEntry(
                take_id=recording.subject,
                subject=recording.subject,
                action=recording.action,
                views=tuple(recording.cameras),
                num_instants=num_rows,
                rows_sha256=digest,
                num_frames=num_frames,
                seconds=seconds,
            )
        )
        shards.append(ShardEntry(path=str(path), rows=num_rows, sha256=digest, takes=(recording.subject,)))
        joints = recording.body.joints_world_mm
        write_reference(
            folder / "annotations" / f"{recording.subject}.parquet",
            ReferenceJoints(
                instants=np.arange(len(joints), dtype=np.int64),
                joints_world_mm=joints,
                valid=np.ones(joints.shape[:2], bool),
                source=REFERENCE_SOURCE,
            ),
        )
    split = SplitBySubject(validation=("s01",), test=("s02",))
    manifest = Manifest(
        format=FORMAT,
        schema_version=SCHEMA_VERSION,
        code_version=mas_ray.__version__,
        corpus="folder",
        parameters=parameters,
        split_config=split,
        takes=tuple(takes),
        shards=tuple(shards),
        splits=plan_splits(
            split, {t.take_id: range(config.instants_per_take) for t in takes}, {t.take_id: t.subject for t in takes}
        ),
        rejects=(),
        statistics=sum_statistics(takes),
    )
    write_manifest(folder / "dataset" / "manifest.json", manifest)
    return TinyDataset(manifest=folder / "dataset" / "manifest.json", annotations=folder / "annotations")


def _rows(recording: Recording, parameters: IngestParameters) -> list[Row]:
    views: dict[int, list[Row]] = {}
    for camera, calibration in recording.cameras.items():
        clip = Clip(view=camera, video="", calibration=calibration)
        for instant, (image, mask) in enumerate(frames(recording, camera)):
            row = view_row(
                clip,
                image,
                person=PersonMask(mask=mask, score=1.0),
                mask_source="exact",
                mask_quality=parameters.mask_quality,
                crop=parameters.crop,
            )
            assert not isinstance(row, str), row
            views.setdefault(instant, []).append(row)
    return [
        frame_set_row(recording.subject, instant, shot=0, timestamp_s=instant / 4, views=of_instant)
        for instant, of_instant in sorted(views.items())
    ]
