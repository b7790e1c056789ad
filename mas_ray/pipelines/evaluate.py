"""``mas-ray evaluate``: predictions of a checkpoint against reference joints. Nothing else reads those."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mas_ray.config.jobs import EvaluateJob
from mas_ray.evaluation.comparison import Comparison
from mas_ray.evaluation.protocol import evaluate_comparison
from mas_ray.evaluation.record import Evaluation, SupervisedErrors, write_evaluation
from mas_ray.evaluation.supervised_postprocess import ALPHAS, supervised_errors
from mas_ray.inference import FrameSetEstimator
from mas_ray.pipelines.evaluate_split import Instant, SplitComparison, compare_with_reference
from mas_ray.pipelines.evaluation_page import evaluation_page
from mas_ray.pipelines.evaluation_tracking import track_evaluation
from mas_ray.pipelines.named_checkpoint import named_checkpoint
from mas_ray.pipelines.progress import note
from mas_ray.reporting.poses import COMPARED, write_rows
from mas_ray.shards.location import location
from mas_ray.shards.manifest import SplitName
from mas_ray.shards.write import write_text


def evaluate(job: EvaluateJob) -> Evaluation:
    """Run the job; writes ``evaluation.json``, ``compared.parquet`` and ``evaluation.html`` into its output folder.

    Raises:
        ValueError: There is no such checkpoint, or see ``compare_with_reference``; the message names the file.
    """
    with named_checkpoint(job.checkpoint, job.tracking_uri) as (name, checkpoint):
        estimator = FrameSetEstimator.load(checkpoint)

    def compared(split: SplitName) -> SplitComparison:
        return compare_with_reference(
            estimator,
            name=name,
            manifest=location(job.manifest),
            annotations=Path(job.annotations),
            split=split,
            workers=job.workers,
        )

    found = compared(job.split)
    supervised: list[SupervisedErrors] = []
    if job.supervised_postprocess:
        note("supervised post-processing: maps are fitted to the labels of the training split")
        train = compared("train")
        supervised = [
            supervised_errors(
                train.comparison,
                found.comparison,
                estimator.skeleton,
                train_subjects=train.subjects,
                regressor=regressor,
            )
            for regressor in ALPHAS
        ]
    evaluation = evaluate_comparison(
        found.comparison,
        estimator.skeleton,
        source=found.source,
        takes=found.takes,
        actions=found.actions,
        supervised=supervised,
    )
    rows = _compared_rows(found.instants, found.comparison)
    output = location(job.output)
    write_rows(output / "compared.parquet", rows, schema=COMPARED, skeleton=estimator.skeleton)
    write_evaluation(output / "evaluation.json", evaluation)
    write_text(
        output / "evaluation.html",
        evaluation_page(found, evaluation, location(job.manifest), estimator.skeleton),
    )
    track_evaluation(job, evaluation)
    return evaluation


def evaluation_file(address: str) -> Path:
    """``evaluation.json`` of a folder that evaluate wrote, or the file itself."""
    path = Path(address)
    return path / "evaluation.json" if path.is_dir() else path


def _compared_rows(instants: Sequence[Instant], comparison: Comparison) -> Iterator[dict[str, Any]]:
    poses = zip(comparison.triangulated_mm.tolist(), comparison.reference_mm.tolist(), strict=True)
    for (take_id, instant), (predicted_mm, reference_mm) in zip(instants, poses, strict=True):
        yield {"take_id": take_id, "instant": instant, "predicted_mm": predicted_mm, "reference_mm": reference_mm}
