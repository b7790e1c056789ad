"""A split as predicted beside its reference joints, in this process or on Ray workers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mas_ray.annotations import ReferenceJoints, read_reference
from mas_ray.config.jobs import Workers
from mas_ray.evaluation.comparison import Comparison, concatenate
from mas_ray.evaluation.record import EvaluationSource, ReferenceFault
from mas_ray.inference import FrameSetEstimator
from mas_ray.pipelines import session
from mas_ray.pipelines.progress import progress
from mas_ray.pipelines.take_comparison import ComparedTake, TakeComparer, TakeToCompare
from mas_ray.pipelines.take_workers import on_ray
from mas_ray.shards.location import Location
from mas_ray.shards.manifest import Manifest, SplitName, read_manifest

Instant = tuple[str, int]
"""Take id and frame number."""
_THIS_PROCESS = Workers()


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitComparison:
    """A split as predicted and as the reference has it, frame set by frame set."""

    comparison: Comparison
    instants: tuple[Instant, ...]
    subjects: tuple[str, ...]
    """The person in each frame set."""
    actions: tuple[str, ...]
    """What is performed in each frame set."""
    views: tuple[tuple[str, ...], ...]
    """Of each frame set the names along the views axis; it may have fewer than the axis has places."""
    source: EvaluationSource

    @property
    def takes(self) -> tuple[str, ...]:
        """The take of each frame set."""
        return tuple(take_id for take_id, _ in self.instants)


def compare_with_reference(
    estimator: FrameSetEstimator,
    *,
    name: str,
    manifest: Location,
    annotations: Path,
    split: SplitName,
    workers: Workers = _THIS_PROCESS,
) -> SplitComparison:
    """Predict a split and put every prediction beside its reference joints.

    Args:
        estimator: Predicts.
        name: What to call it in the record: its checkpoint, if it has one.
        manifest: ``manifest.json`` of the dataset.
        annotations: Folder of reference joints, as ingest wrote it.
        split: Which frame sets.
        workers: Ray workers that the takes are dealt to; one without a GPU is this process. The numbers are the same.

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
    todo = [TakeToCompare(take_id=take_id, reference=_reference(annotations, take_id)) for take_id in takes]
    create = functools.partial(TakeComparer, manifest=str(manifest), split=split)
    compared = (
        _counted(map(create(estimator), todo), len(todo))
        if workers.num == 1 and not workers.gpus_each
        else _on_ray(create, estimator, todo, workers)
    )
    if not any(take.any_calibrated for take in compared):
        raise ValueError(
            f"{manifest}: no view of the {split} split is calibrated; the reference, which is in the world, "
            "cannot be compared with it"
        )
    num_frame_sets = sum(take.num_frame_sets for take in compared)
    comparisons = [take.comparison for take in compared if take.comparison is not None]
    if not comparisons:
        raise ValueError(f"{annotations}: the reference has none of the {num_frame_sets} instants of the split")
    instants = tuple((take.take_id, instant) for take in compared for instant in take.instants)
    entries = {take.take_id: take for take in content.takes}
    return SplitComparison(
        comparison=concatenate(comparisons),
        instants=instants,
        subjects=tuple(entries[take_id].subject for take_id, _ in instants),
        actions=tuple(entries[take_id].action for take_id, _ in instants),
        views=tuple(entries[take_id].views for take_id, _ in instants),
        source=EvaluationSource(
            checkpoint=name,
            corpus=content.corpus,
            split=split,
            reference=", ".join(sorted({take.reference.source for take in todo})),
            num_frame_sets=len(instants),
            num_without_reference=num_frame_sets - len(instants),
            takes=takes,
            takes_also_trained_on=_also_trained_on(content, split, takes),
            faults=tuple(
                ReferenceFault(take_id=take.take_id, fault=take.reference.fault)
                for take in todo
                if take.reference.fault
            ),
        ),
    )


def _on_ray(
    create: Callable[[FrameSetEstimator], TakeComparer],
    estimator: FrameSetEstimator,
    todo: Sequence[TakeToCompare],
    workers: Workers,
) -> list[ComparedTake]:
    with session.connect():
        session.require(workers, "evaluate")
        compared = _counted(on_ray(create, estimator, todo, workers), len(todo))
    found = {take.take_id: take for take in compared}
    return [found[take.take_id] for take in todo]


def _counted(compared: Iterable[ComparedTake], total: int) -> list[ComparedTake]:
    takes: list[ComparedTake] = []
    with progress("evaluate", total, "takes") as advance:
        for take in compared:
            takes.append(take)
            advance(1)
    return takes


def _reference(folder: Path, take_id: str) -> ReferenceJoints:
    path = folder / f"{take_id}.parquet"
    if not path.is_file():
        raise ValueError(f"{path}: no reference joints for take {take_id!r}; it cannot be evaluated")
    return read_reference(path)


def _also_trained_on(manifest: Manifest, split: SplitName, takes: tuple[str, ...]) -> tuple[str, ...]:
    if split == "train":
        return takes
    trained = {chosen.take_id for chosen in manifest.splits.ranges("train")}
    return tuple(take_id for take_id in takes if take_id in trained)
