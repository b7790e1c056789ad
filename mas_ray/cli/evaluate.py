"""``mas-ray evaluate``: compare a checkpoint with reference joints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tyro

from mas_ray.cli.text_table import cell, text_table
from mas_ray.config.jobs import EvaluateJob


def run(argv: Sequence[str]) -> int:
    """Evaluate, and say the main figures under every handling of left and right."""
    job = tyro.cli(EvaluateJob, args=argv, prog="mas-ray evaluate", description=EvaluateJob.__doc__)
    from mas_ray.pipelines.evaluate import evaluate  # torch loads only now

    evaluation = evaluate(job)
    source = evaluation.source
    print(f"{source.num_frame_sets} frame sets of the {source.split} split against: {source.reference}")
    print(
        "MPJPE and P-MPJPE of triangulated poses in mm (all joints, then the MPJPE of each group), 2D in % of the crop:"
    )
    groups = [group.group for group in evaluation.accuracy[0].groups]
    rows = [["left and right", "MPJPE", "P-MPJPE", "2D", *(name for group in groups for name in (group, "2D"))]]
    for accuracy in evaluation.accuracy:
        errors, keypoints = accuracy.triangulated, accuracy.keypoints
        row = [accuracy.handling, cell(errors and errors.mpjpe_mm, 1), cell(errors and errors.p_mpjpe_mm, 1)]
        row.append(cell(keypoints and keypoints.percent_of_crop, 2))
        for group in accuracy.groups:
            row += [cell(group.triangulated_mm, 1), cell(group.percent_of_crop, 2)]
        rows.append(row)
    print(text_table(rows))
    if source.takes_also_trained_on:
        print("  (training and evaluated frames come from the same clips)")
    print(f"wrote {Path(job.output) / 'evaluation.json'}")
    return 0
