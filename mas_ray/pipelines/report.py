"""``mas-ray report``: gather a run, its evaluation and its predictions, and write them as one HTML page."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from jaxtyping import Float

from mas_ray.batch import geodesic_weight
from mas_ray.config import codec
from mas_ray.config.jobs import ReportJob, TrainJob
from mas_ray.evaluation.record import Evaluation, read_evaluation
from mas_ray.geometry.pixel_grid import pixel_from_ndc
from mas_ray.inference import FrameSetEstimator, PosePrediction
from mas_ray.pipelines.run_folder import read_cascade_result, stage_folder
from mas_ray.reporting.data import GalleryFrame, GalleryView, ReportData, StageCurves, Video
from mas_ray.reporting.overlay import colour_map, draw_mask_outline, draw_skeleton, fit_height, grey_map
from mas_ray.reporting.poses import COMPARED, POSES, read_rows
from mas_ray.reporting.report import render_report
from mas_ray.reporting.video import middle_frame
from mas_ray.reporting.viewer import PoseSequence, pose_sequences
from mas_ray.shards.images import decode_distances, decode_image, decode_mask, encode_image
from mas_ray.shards.location import Location, location
from mas_ray.shards.manifest import DISTANCE_MAP_SIZE, Manifest, SplitName, read_manifest
from mas_ray.shards.read import read_split, read_take
from mas_ray.shards.write import write_text
from mas_ray.skeleton import Skeleton
from mas_ray.tracking.spool import read_spool

_NUM_GALLERY_FRAMES = 3
_NUM_GALLERY_BATCHES = 4
_POSTER_HEIGHT_PX = 360
_MAX_TAKES_IN_3D = 4


def report(job: ReportJob) -> Path:
    """Run the job.

    Returns:
        The page's path.

    Raises:
        ValueError: The run is not finished or a file it needs is missing; the message names it.
    """
    run, output = Path(job.run), Path(job.output)
    manifest_path = location(job.manifest)
    manifest = read_manifest(manifest_path)
    train_job = codec.loads(TrainJob, (run / "job.json").read_text(), str(run / "job.json"))
    estimator = FrameSetEstimator.load(run / read_cascade_result(run).checkpoint)
    evaluation = None if job.evaluation is None else read_evaluation(Path(job.evaluation) / "evaluation.json")
    output.parent.mkdir(parents=True, exist_ok=True)
    data = ReportData(
        job=train_job,
        manifest=manifest,
        skeleton=estimator.skeleton,
        stages=_stages(run, train_job),
        gallery=_gallery(estimator, manifest_path, manifest),
        sequences=_sequences(job, manifest, evaluation, estimator.skeleton),
        videos=_videos(job, output),
        evaluation=evaluation,
    )
    write_text(output, render_report(data))
    return output


def _stages(run: Path, job: TrainJob) -> tuple[StageCurves, ...]:
    return tuple(
        StageCurves(name=stage.name, records=tuple(read_spool(stage_folder(run, job.cascade, index) / "metrics.jsonl")))
        for index, stage in enumerate(job.cascade.stages)
    )


def _gallery(estimator: FrameSetEstimator, manifest_path: Location, manifest: Manifest) -> tuple[GalleryFrame, ...]:
    """A few instants, spread over the beginning of the held-out split (training where nothing is held out)."""
    split: SplitName = "test" if manifest.splits.test else "train"
    first = list(itertools.islice(estimator.predict_dataset(manifest_path, split), _NUM_GALLERY_BATCHES))
    rows = list(itertools.islice(read_split(manifest_path.parent, manifest, split), sum(len(p.instant) for p in first)))
    places = [(prediction, index) for prediction in first for index in range(len(prediction.instant))]
    chosen = np.linspace(0, len(rows) - 1, min(_NUM_GALLERY_FRAMES, len(rows))).round().astype(int).tolist()
    return tuple(_gallery_frame(estimator, rows[i], *places[i], split=split) for i in chosen)


def _gallery_frame(
    estimator: FrameSetEstimator, row: Mapping[str, Any], prediction: PosePrediction, index: int, *, split: SplitName
) -> GalleryFrame:
    keypoints = prediction.keypoints_crop_ndc[index]
    return GalleryFrame(
        take_id=row["take_id"],
        instant=row["instant"],
        split=split,
        views=tuple(
            GalleryView(
                view=view["name"],
                pictures=_pictures(estimator, view, keypoints[prediction.views[index].index(view["name"])]),
            )
            for view in row["views"]
        ),
    )


def _pictures(
    estimator: FrameSetEstimator, view: Mapping[str, Any], keypoints_ndc: Float[torch.Tensor, "joints 2"]
) -> dict[str, bytes]:
    crop = decode_image(view["image"])
    size = crop.shape[0]
    mask = decode_mask(view["mask"], size, size)
    distances = decode_distances(view["geodesic_distance"], DISTANCE_MAP_SIZE)
    weight = geodesic_weight(distances, estimator.cascade.mask_size, estimator.cascade.geodesic)
    with torch.inference_mode():
        skeleton_mask, physique_mask = estimator.render(keypoints_ndc)
    keypoints_px = pixel_from_ndc(keypoints_ndc.double(), size).numpy()
    pictures = {
        "prediction": draw_skeleton(draw_mask_outline(crop, mask), keypoints_px, estimator.skeleton),
        "person mask": grey_map(mask.astype(np.float64)),
        "geodesic weight": colour_map(weight.astype(np.float64)),
        "skeleton mask": grey_map(skeleton_mask.double().numpy()),
        "physique mask": grey_map(physique_mask.double().numpy()),
    }
    return {name: encode_image(picture) for name, picture in pictures.items()}


def _sequences(
    job: ReportJob, manifest: Manifest, evaluation: Evaluation | None, skeleton: Skeleton
) -> tuple[PoseSequence, ...]:
    if job.predictions is None:
        return ()
    predicted = read_rows(Path(job.predictions) / "poses.parquet", schema=POSES, skeleton=skeleton)
    compared: list[dict[str, Any]] = []
    if job.evaluation is not None:
        compared = read_rows(Path(job.evaluation) / "compared.parquet", schema=COMPARED, skeleton=skeleton)
    chirality = None if evaluation is None else evaluation.knee_chirality
    return pose_sequences(
        predicted,
        {(row["take_id"], row["instant"]): row["reference_mm"] for row in compared},
        upwards=_upwards(location(job.manifest).parent, manifest),
        splits=manifest.splits,
        skeleton=skeleton,
        exchange_sides=chirality is not None and chirality.says_swapped,
    )


def _upwards(folder: Location, manifest: Manifest) -> dict[str, Float[np.ndarray, " 3"]]:
    """Which way is up in the world of each take, as its cameras stand; takes without calibration are left out."""
    upwards: dict[str, Float[np.ndarray, " 3"]] = {}
    tested = {item.take_id for item in manifest.splits.test}
    for take in sorted(manifest.takes, key=lambda take: take.take_id not in tested)[:_MAX_TAKES_IN_3D]:
        row = next(read_take(folder, manifest, take.take_id))
        down = [np.array(view["R"]).reshape(3, 3)[1] for view in row["views"] if view["calibrated"]]
        if down:
            upwards[take.take_id] = -np.mean(down, axis=0)
    return upwards


def _videos(job: ReportJob, output: Path) -> tuple[Video, ...]:
    """The overlay videos of the predictions, addressed relative to the page."""
    if job.predictions is None:
        return ()
    paths = sorted((Path(job.predictions) / "overlays").glob("*.mp4"))
    folder = output.parent.resolve()
    return tuple(
        Video(
            name=path.stem,
            href=quote(Path(os.path.relpath(path.resolve(), folder)).as_posix()),
            poster=_poster(path),
        )
        for path in paths
    )


def _poster(path: Path) -> bytes | None:
    image = middle_frame(path)
    return None if image is None else encode_image(fit_height(image, _POSTER_HEIGHT_PX))
