"""``mas-ray evaluate``: predictions of a checkpoint against reference joints. Nothing else reads those."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mas_ray.annotations import ReferenceJoints, read_reference
from mas_ray.config.jobs import EvaluateJob
from mas_ray.evaluation.comparison import Comparison, ViewGeometry, compare, concatenate
from mas_ray.evaluation.protocol import Evaluation, EvaluationSource, evaluate_comparison, write_evaluation
from mas_ray.geometry.camera import Camera
from mas_ray.inference import PoseEstimator, PosePrediction
from mas_ray.pipelines.named_checkpoint import named_checkpoint
from mas_ray.pipelines.progress import progress
from mas_ray.reporting.poses import COMPARED, write_rows
from mas_ray.shards.location import Location, location
from mas_ray.shards.manifest import Manifest, SplitName, read_manifest
from mas_ray.shards.read import read_split
from mas_ray.skeleton import Skeleton

Instant = tuple[str, int]
"""Take id and frame number."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitComparison:
    """A split as predicted and as the reference has it, frame set by frame set."""

    comparison: Comparison
    instants: tuple[Instant, ...]
    subjects: tuple[str, ...]
    """The person in each frame set."""
    source: EvaluationSource

    @property
    def takes(self) -> tuple[str, ...]:
        """The take of each frame set."""
        return tuple(take_id for take_id, _ in self.instants)


def evaluate(job: EvaluateJob) -> Evaluation:
    """Run the job; writes ``evaluation.json`` and ``compared.parquet`` into its output folder.

    Raises:
        ValueError: There is no such checkpoint, or see ``compare_with_reference``; the message names the file.
    """
    with named_checkpoint(job.checkpoint, job.tracking_uri) as (name, checkpoint):
        estimator = PoseEstimator.load(checkpoint)
    found = compare_with_reference(
        estimator,
        name=name,
        manifest=location(job.manifest),
        annotations=Path(job.annotations),
        split=job.split,
    )
    evaluation = evaluate_comparison(found.comparison, estimator.skeleton, source=found.source, takes=found.takes)
    rows = _compared_rows(found.instants, found.comparison)
    output = location(job.output)
    write_rows(output / "compared.parquet", rows, schema=COMPARED, skeleton=estimator.skeleton)
    write_evaluation(output / "evaluation.json", evaluation)
    return evaluation


def compare_with_reference(
    estimator: PoseEstimator, *, name: str, manifest: Location, annotations: Path, split: SplitName
) -> SplitComparison:
    """Predict a split and put every prediction beside its reference joints.

    Args:
        estimator: Predicts.
        name: What to call it in the record: its checkpoint, if it has one.
        manifest: ``manifest.json`` of the dataset.
        annotations: Folder of reference joints, as ingest wrote it.
        split: Which frame sets.

    Raises:
        ValueError: The split is empty, a take has no reference, nothing overlaps, or no view is calibrated; the
            message names the file.
    """
    content = read_manifest(manifest)
    takes = tuple(chosen.take_id for chosen in content.splits.ranges(split))
    if not takes:
        raise ValueError(
            f"{manifest}: the {split} split is empty; ingest again with --split tail (no mask is made anew)"
        )
    references = {take_id: _reference(annotations, take_id) for take_id in takes}
    joints = _joints_by_instant(references)
    views = _views_by_instant(manifest.parent, content, split)
    if not any(view["calibrated"] for by_name in views.values() for view in by_name.values()):
        raise ValueError(
            f"{manifest}: no view of the {split} split is calibrated; the reference, which is in the world, "
            "cannot be compared with it"
        )
    if joints.keys().isdisjoint(views):
        raise ValueError(f"{annotations}: the reference has none of the {len(views)} instants of the split")
    crop_size_px, skeleton = content.parameters.crop.size_px, estimator.skeleton
    compared: list[Instant] = []
    comparisons: list[Comparison] = []
    with progress("evaluate", len(views), "frame sets") as advance:
        for prediction in estimator.predict_dataset(manifest, split):
            advance(len(prediction.instant))
            compared += [instant for instant in _instants(prediction) if instant in joints]
            comparisons.append(_compare(prediction, joints, views, crop_size_px=crop_size_px, skeleton=skeleton))
    subjects = {take.take_id: take.subject for take in content.takes}
    return SplitComparison(
        comparison=concatenate(comparisons),
        instants=tuple(compared),
        subjects=tuple(subjects[take_id] for take_id, _ in compared),
        source=EvaluationSource(
            checkpoint=name,
            corpus=content.corpus,
            split=split,
            reference=", ".join(sorted({reference.source for reference in references.values()})),
            num_frame_sets=len(compared),
            num_without_reference=len(views) - len(compared),
            takes=takes,
            takes_also_trained_on=_also_trained_on(content, split, takes),
        ),
    )


def _reference(folder: Path, take_id: str) -> ReferenceJoints:
    path = folder / f"{take_id}.parquet"
    if not path.is_file():
        raise ValueError(f"{path}: no reference joints for take {take_id!r}; it cannot be evaluated")
    return read_reference(path)


def _joints_by_instant(references: Mapping[str, ReferenceJoints]) -> dict[Instant, Float[Tensor, "joints 3"]]:
    """World millimetres, NaN where the reference is not valid."""
    return {
        (take_id, int(instant)): torch.from_numpy(joints).masked_fill(~torch.from_numpy(valid)[:, None], torch.nan)
        for take_id, reference in references.items()
        for instant, joints, valid in zip(reference.instants, reference.joints_world_mm, reference.valid, strict=True)
        if valid.any()
    }


def _views_by_instant(
    folder: Location, manifest: Manifest, split: SplitName
) -> dict[Instant, dict[str, dict[str, Any]]]:
    """Where each view of each frame set looks, by the view's name; the pictures are let go."""
    kept = ("calibrated", "crop_from_image", "K", "R", "t_mm")
    return {
        (row["take_id"], row["instant"]): {view["name"]: {key: view[key] for key in kept} for view in row["views"]}
        for row in read_split(folder, manifest, split)
    }


def _also_trained_on(manifest: Manifest, split: SplitName, takes: tuple[str, ...]) -> tuple[str, ...]:
    if split == "train":
        return takes
    trained = {chosen.take_id for chosen in manifest.splits.ranges("train")}
    return tuple(take_id for take_id in takes if take_id in trained)


def _compare(
    prediction: PosePrediction,
    joints: Mapping[Instant, Float[Tensor, "joints 3"]],
    views: Mapping[Instant, Mapping[str, Mapping[str, Any]]],
    *,
    crop_size_px: int,
    skeleton: Skeleton,
) -> Comparison:
    instants = _instants(prediction)
    nowhere = torch.full((skeleton.num_joints, 3), torch.nan, dtype=torch.float64)
    comparison = compare(
        prediction,
        _geometry(
            [
                _along_axis(views[instant], names, prediction.valid.shape[1])
                for instant, names in zip(instants, prediction.views, strict=True)
            ]
        ),
        reference_mm=torch.stack([joints.get(instant, nowhere) for instant in instants]),
        crop_size_px=crop_size_px,
        root=skeleton.parents.index(-1),
    )
    return comparison.of_frames(torch.tensor([instant in joints for instant in instants]))


def _instants(prediction: PosePrediction) -> list[Instant]:
    return list(zip(prediction.take_id, prediction.instant, strict=True))


def _along_axis(
    views: Mapping[str, Mapping[str, Any]], names: Sequence[str], num_views: int
) -> list[Mapping[str, Any] | None]:
    """A frame set's views in the order of the prediction's axis; None where there is none."""
    return [views.get(name) for name in names] + [None] * (num_views - len(names))


def _geometry(views: list[list[Mapping[str, Any] | None]]) -> ViewGeometry:
    """Absent and uncalibrated views get a camera that is harmless to compute with."""
    harmless = {
        "calibrated": False,
        "crop_from_image": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        "K": torch.eye(3).flatten().tolist(),
        "R": torch.eye(3).flatten().tolist(),
        "t_mm": (0.0, 0.0, 1000.0),
    }
    usable = [[view if view is not None and view["calibrated"] else harmless for view in row] for row in views]

    def stacked(key: str, *shape: int) -> Tensor:
        values = [[view[key] for view in row] for row in usable]
        return torch.tensor(values, dtype=torch.float64).reshape(len(views), -1, *shape)

    return ViewGeometry(
        camera=Camera(K=stacked("K", 3, 3), R=stacked("R", 3, 3), t_mm=stacked("t_mm", 3)),
        crop_from_image=stacked("crop_from_image", 2, 3),
        calibrated=torch.tensor([[bool(view["calibrated"]) for view in row] for row in usable]),
    )


def _compared_rows(instants: Sequence[Instant], comparison: Comparison) -> Iterator[dict[str, Any]]:
    poses = zip(comparison.triangulated_mm.tolist(), comparison.reference_mm.tolist(), strict=True)
    for (take_id, instant), (predicted_mm, reference_mm) in zip(instants, poses, strict=True):
        yield {"take_id": take_id, "instant": instant, "predicted_mm": predicted_mm, "reference_mm": reference_mm}
