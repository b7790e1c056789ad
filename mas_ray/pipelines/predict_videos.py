"""``mas-ray predict VIDEO ...``: mask, crop and predict videos that nobody has ingested."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from mas_ray.config.jobs import IngestJob, PredictJob, PredictVideosJob
from mas_ray.config.predict import WHOEVER_IS_THERE
from mas_ray.corpora.layout import VIDEO_SUFFIXES, is_video
from mas_ray.pipelines.ingest import ingest
from mas_ray.pipelines.predict import Predictions, predict
from mas_ray.shards.location import location


def predict_videos(job: PredictVideosJob) -> Predictions:
    """Run the job. The dataset in ``<output>/dataset`` is made once: the same videos and masks again only predict.

    Of several people in a picture the largest is predicted; a picture without one has no row.

    Raises:
        ValueError: A video or the folder is not there, nobody is in any video, or see ``ingest`` and ``predict``.
    """
    output = location(job.output)
    corpus = _corpus(job.videos, job.output)
    dataset = output / "dataset"
    ingest(
        IngestJob(
            root=corpus,
            output=str(dataset),
            masks=job.masks,
            mask_quality=WHOEVER_IS_THERE,
            sampling=job.sampling,
            curation=None,
            workers=job.workers,
            max_reject_fraction=1.0,
        )
    )
    return predict(
        PredictJob(
            checkpoint=job.checkpoint,
            manifest=str(dataset / "manifest.json"),
            output=job.output,
            corpus_root=corpus,
            formats=job.formats,
            world_up=job.world_up,
            smoothing=job.smoothing,
            workers=job.workers,
            tracking_uri=job.tracking_uri,
        )
    )


def _corpus(videos: Sequence[str], output: str) -> str:
    """The folder that was named, or one of links to the files that were."""
    if len(videos) == 1 and (not isinstance(location(videos[0]), Path) or Path(videos[0]).is_dir()):
        return videos[0]
    if not isinstance(location(output), Path):
        raise ValueError(f"output: {output} is in a store; there, name a folder of videos, not files")
    files = [Path(video) for video in videos]
    for file in files:
        if not file.is_file():
            raise ValueError(f"{file}: no such video")
        if not is_video(file.name):
            raise ValueError(f"{file}: expected a video ({', '.join(VIDEO_SUFFIXES)})")
    names = [file.name for file in files]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"videos: two are called {repeated[0]}; put them in folders of one corpus and name that")
    folder = Path(output) / "videos"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in files:
        try:
            os.link(file, folder / file.name)
        except OSError:  # on another disk, or one that knows no links
            shutil.copy2(file, folder / file.name)
    return str(folder)
