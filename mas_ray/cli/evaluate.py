"""``mas-ray evaluate``: compare a checkpoint with reference joints."""

from __future__ import annotations

from collections.abc import Sequence

import tyro

from mas_ray.cli.text_table import cell, text_table
from mas_ray.config.jobs import EvaluateJob
from mas_ray.reporting.summary_columns import HANDLING_NAMES


def run(argv: Sequence[str]) -> int:
    """Evaluate, and say the main figures under every handling of left and right."""
    return show(job_of(argv))


def job_of(argv: Sequence[str]) -> EvaluateJob:
    """The job that a command line stands for."""
    return tyro.cli(EvaluateJob, args=argv, prog="mas-ray evaluate", description=EvaluateJob.__doc__)


def show(job: EvaluateJob) -> int:
    """Run an evaluation and print the main figures."""
    from mas_ray.pipelines.evaluate import evaluate  # torch loads only now
    from mas_ray.shards.location import location

    evaluation = evaluate(job)
    source = evaluation.source
    print(f"{source.num_frame_sets} frame sets of the {source.split} split against: {source.reference}")
    print("MPJPE and P-MPJPE in mm of triangulated poses, then of one view's alone; 2D in % of the crop; then the")
    print("triangulated MPJPE and 2D of each group of joints:")
    groups = [group.group for group in evaluation.accuracy[0].groups]
    headings = ("MPJPE", "P-MPJPE", "1-view", "P-MPJPE", "2D")
    rows = [["left and right", *headings, *(name for group in groups for name in (group, "2D"))]]
    for accuracy in evaluation.accuracy:
        keypoints, row = accuracy.keypoints, [HANDLING_NAMES[accuracy.handling]]
        for errors in (accuracy.triangulated, accuracy.monocular):
            row += [cell(errors and errors.mpjpe_mm, 1), cell(errors and errors.p_mpjpe_mm, 1)]
        row.append(cell(keypoints and keypoints.percent_of_crop, 2))
        for group in accuracy.groups:
            row += [cell(group.triangulated_mm, 1), cell(group.percent_of_crop, 2)]
        rows.append(row)
    print(text_table(rows))
    print(f"  ambiguity ratio r, before any handling: {cell(evaluation.ambiguity_ratio, 3)}")
    if (knees := evaluation.knee_chirality_of_takes) is not None:
        bend = f"{knees.mean_mm:.1f} ± {knees.standard_error_mm:.1f} mm"
        print(f"  knees bend forward by {bend} (standard error over takes), by the names as predicted")
    if source.takes_also_trained_on:
        print("  (training and evaluated frames come from the same clips)")
    print(f"wrote {location(job.output) / 'evaluation.json'}")
    return 0
