"""``mas-ray predict``: write joints and overlay videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from mas_ray.cli.ingest import Method, mask_config
from mas_ray.config.ingest import FrameSampling
from mas_ray.config.jobs import PredictJob, PredictVideosJob, Workers
from mas_ray.config.predict import Axis, OneEuro, PoseFormat

_MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Predict joints of videos, or of a dataset, as a table, in other programs' formats, and drawn over the videos.

    Videos are masked first, as by `mas-ray ingest`. A folder of takes with calibrations gives joints in the world.
    """

    videos: Annotated[tuple[str, ...], tyro.conf.arg(metavar="VIDEO"), tyro.conf.Positional] = ()
    """Video files, a folder of takes and videos, or a dataset's folder."""
    checkpoint: str
    """A checkpoint folder or its URI, `packaged`, or `models:/NAME@ALIAS` of MLflow's registry."""
    output: str
    """Folder for `poses.parquet`, `overlays/` and the other formats, or its URI."""
    manifest: str = ""
    """A dataset's manifest.json, in place of videos."""
    corpus_root: str = ""
    """With a dataset: the corpus that it was made from, for the overlays."""
    masks: Method = "selfie"
    """With videos: how the person is found."""
    stride: int = 1
    """With videos: predict every n-th frame."""
    formats: tuple[PoseFormat, ...] | None = None
    """What to write besides; without it all for videos, and none for a dataset."""
    up: Axis = "z"
    """Which axis of the calibration's world points up; TRC and BVH have Y up."""
    smooth: bool = False
    """Filter joints and keypoints over time (One-Euro)."""
    workers: int = 1
    """Ray workers that share the takes."""
    tracking_uri: str | None = None
    """MLflow store of a `models:/` checkpoint; without it what MLFLOW_TRACKING_URI says."""


def run(argv: Sequence[str]) -> int:
    """Predict, and say what was written."""
    return show(job_of(argv))


def job_of(argv: Sequence[str]) -> PredictJob | PredictVideosJob:
    """The job that a command line stands for."""
    flags = tyro.cli(Flags, args=argv, prog="mas-ray predict", description=Flags.__doc__)
    smoothing, workers = OneEuro() if flags.smooth else None, Workers(num=flags.workers)
    if bool(flags.manifest) == bool(flags.videos):
        raise ValueError("name videos, a folder of them or a dataset, or a dataset's manifest by --manifest")
    manifest = flags.manifest or _manifest(flags.videos)
    if manifest:
        if flags.masks != Flags.masks or flags.stride != Flags.stride:
            raise ValueError("--masks, --stride: a dataset has been masked; leave them away")
        return PredictJob(
            checkpoint=flags.checkpoint,
            manifest=manifest,
            output=flags.output,
            corpus_root=flags.corpus_root or None,
            formats=flags.formats or (),
            world_up=flags.up,
            smoothing=smoothing,
            workers=workers,
            tracking_uri=flags.tracking_uri,
        )
    if flags.corpus_root:
        raise ValueError("--corpus-root: belongs to a dataset; videos are their own corpus")
    job = PredictVideosJob(
        videos=flags.videos,
        checkpoint=flags.checkpoint,
        output=flags.output,
        masks=mask_config(flags.masks),
        sampling=FrameSampling(stride=flags.stride),
        world_up=flags.up,
        smoothing=smoothing,
        workers=workers,
        tracking_uri=flags.tracking_uri,
    )
    return job if flags.formats is None else replace(job, formats=flags.formats)


def _manifest(videos: Sequence[str]) -> str:
    """The manifest of the dataset that was named, if it was one."""
    if len(videos) != 1:
        return ""
    path = Path(videos[0])
    return str(path / _MANIFEST) if (path / _MANIFEST).is_file() else str(path) if path.name == _MANIFEST else ""


def show(job: PredictJob | PredictVideosJob) -> int:
    """Run a prediction and print what was written."""
    if isinstance(job, PredictVideosJob):
        from mas_ray.pipelines.predict_videos import predict_videos  # torch loads only now

        predictions = predict_videos(job)
    else:
        from mas_ray.pipelines.predict import predict  # torch loads only now

        predictions = predict(job)
    print(f"{predictions.num_frame_sets} instants predicted")
    others = [path for paths in predictions.others.values() for path in paths]
    for path in (predictions.poses, *others, *predictions.overlays):
        print(f"wrote {path}")
    return 0
