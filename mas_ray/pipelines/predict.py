"""``mas-ray predict``: the poses of a dataset, or of videos, as a table, drawn over the videos, in others' formats."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mas_ray.config.jobs import PredictJob
from mas_ray.config.predict import PoseFormat
from mas_ray.inference import FrameSetEstimator
from mas_ray.pipelines import session
from mas_ray.pipelines.named_checkpoint import named_checkpoint
from mas_ray.pipelines.overlays import Overlays
from mas_ray.pipelines.progress import progress
from mas_ray.pipelines.take_poses import TakePoses, TakePredictor
from mas_ray.pipelines.take_workers import on_ray
from mas_ray.reporting.bvh import bvh
from mas_ray.reporting.coco import coco
from mas_ray.reporting.pose_track import pose_track
from mas_ray.reporting.poses import POSES, read_parts, writing_rows
from mas_ray.reporting.trc import trc
from mas_ray.shards.location import Location, location
from mas_ray.shards.manifest import Manifest, read_manifest
from mas_ray.shards.write import write_text
from mas_ray.skeleton import Skeleton

_SUFFIXES: Mapping[PoseFormat, str] = {"json": "json", "coco": "json", "trc": "trc", "bvh": "bvh"}
JSON_FORMAT = "mas-ray poses 1"


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What predict wrote: the table, the videos, and the files of other formats by format."""

    poses: str
    overlays: tuple[str, ...]
    others: Mapping[PoseFormat, tuple[str, ...]]
    num_frame_sets: int


def predict(job: PredictJob) -> Predictions:
    """Run the job; writes ``poses.parquet``, ``<format>/<take>.*`` and, given the corpus, ``overlays/*.mp4``.

    Raises:
        ValueError: The checkpoint, the dataset or a video is not readable, or the corpus lacks a take of the
            dataset; the message names it.
    """
    manifest_path, output = location(job.manifest), location(job.output)
    manifest = read_manifest(manifest_path)
    with named_checkpoint(job.checkpoint, job.tracking_uri) as (_, checkpoint):
        estimator = FrameSetEstimator.load(checkpoint)
    skeleton = estimator.skeleton
    overlays = None if job.corpus_root is None else Overlays(job.corpus_root, manifest_path.parent, manifest, skeleton)
    poses = output / "poses.parquet"
    num_frame_sets = num_pictures = 0
    with writing_rows(poses, schema=POSES, skeleton=skeleton) as write:
        for take in _predicted(job, estimator, manifest):
            write(take.rows)
            num_frame_sets += len(take.rows)
            num_pictures += sum(len(row["views"]) for row in take.rows)
    drawn: list[str] = []
    others: dict[PoseFormat, list[str]] = {each: [] for each in job.formats}
    with progress("overlays", num_pictures if overlays else 0, "pictures") as advance:
        for rows in read_parts(poses) if overlays or others else ():
            for each, paths in others.items():
                paths += _written(output, each, rows, job, skeleton)
            if overlays is not None:
                drawn += map(str, overlays.draw(rows, output / "overlays", advance))
    return Predictions(
        poses=str(poses),
        overlays=tuple(drawn),
        others={each: tuple(paths) for each, paths in others.items()},
        num_frame_sets=num_frame_sets,
    )


def _predicted(job: PredictJob, estimator: FrameSetEstimator, manifest: Manifest) -> Iterator[TakePoses]:
    """The takes in the dataset's order, by this process or by Ray's."""
    create = functools.partial(TakePredictor, manifest=job.manifest, smoothing=job.smoothing)
    take_ids = [take.take_id for take in manifest.takes]
    with progress("predict", sum(take.num_instants for take in manifest.takes), "frame sets") as advance:
        if job.workers.num == 1 and not job.workers.gpus_each:
            predictor = create(estimator)
            yield from (predictor(take_id, advance) for take_id in take_ids)
            return
        with session.connect():
            session.require(job.workers, "predict")
            done: dict[str, TakePoses] = {}
            for take in on_ray(create, estimator, take_ids, job.workers):
                advance(len(take.rows))
                done[take.take_id] = take
                while take_ids and take_ids[0] in done:
                    yield done.pop(take_ids.pop(0))


def _written(
    output: Location, kind: PoseFormat, rows: Sequence[Mapping[str, Any]], job: PredictJob, skeleton: Skeleton
) -> list[str]:
    """The file of a take in a format; none where it has no pose for it."""
    take_id = rows[0]["take_id"]
    path = output / kind / f"{take_id}.{_SUFFIXES[kind]}"
    text = _text(kind, path.name, rows, job, skeleton)
    if text is None:
        return []
    write_text(path, text)
    return [str(path)]


def _text(
    kind: PoseFormat, name: str, rows: Sequence[Mapping[str, Any]], job: PredictJob, skeleton: Skeleton
) -> str | None:
    match kind:
        case "json":
            frames = [{key: value for key, value in row.items() if key != "take_id"} for row in rows]
            record = {"format": JSON_FORMAT, "take_id": rows[0]["take_id"], "joints": skeleton.joints, "frames": frames}
            return json.dumps(record, allow_nan=False)
        case "coco":
            return json.dumps(coco(rows, skeleton), allow_nan=False)
        case "trc" | "bvh":
            track = pose_track(rows, world_up=job.world_up, num_joints=skeleton.num_joints)
            if track is None:
                return None
            return trc(track, skeleton, name) if kind == "trc" else bvh(track, skeleton)
