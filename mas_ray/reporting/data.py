"""What a report shows, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mas_ray.config.jobs import TrainJob
from mas_ray.evaluation.record import Evaluation
from mas_ray.reporting.viewer import PoseSequence
from mas_ray.shards.manifest import Manifest
from mas_ray.skeleton import Skeleton


@dataclass(frozen=True, kw_only=True)
class StageCurves:
    """What one stage reported, epoch by epoch: records of ``metrics.jsonl``."""

    name: str
    records: tuple[Mapping[str, float | str], ...]


@dataclass(frozen=True, kw_only=True)
class GalleryView:
    """One view of a gallery frame: the pictures as JPEG, by what they show, in the order shown."""

    view: str
    pictures: Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class GalleryFrame:
    """All views of one instant."""

    take_id: str
    instant: int
    split: str
    views: tuple[GalleryView, ...]


@dataclass(frozen=True, kw_only=True)
class Video:
    """An overlay video beside the report."""

    name: str
    href: str
    """Relative to the report."""
    poster: bytes | None
    """A frame of it as JPEG."""


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything a report shows. What is None or empty is left out, and the page says so."""

    job: TrainJob
    manifest: Manifest
    skeleton: Skeleton
    stages: tuple[StageCurves, ...]
    gallery: tuple[GalleryFrame, ...]
    sequences: tuple[PoseSequence, ...]
    videos: tuple[Video, ...]
    evaluation: Evaluation | None
