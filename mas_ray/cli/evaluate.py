"""``mas-ray evaluate``: compare a checkpoint with reference joints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tyro

from mas_ray.config.jobs import EvaluateJob


def run(argv: Sequence[str]) -> int:
    """Evaluate, and say the main figures under every handling of left and right."""
    job = tyro.cli(EvaluateJob, args=argv, prog="mas-ray evaluate", description=EvaluateJob.__doc__)
    from mas_ray.pipelines.evaluate import evaluate  # torch loads only now

    evaluation = evaluate(job)
    source = evaluation.source
    print(f"{source.num_frame_sets} frame sets of the {source.split} split against: {source.reference}")
    for accuracy in evaluation.accuracy:
        errors, keypoints = accuracy.triangulated, accuracy.keypoints
        parts = [] if errors is None else [f"MPJPE {errors.mpjpe_mm:.1f} mm, P-MPJPE {errors.p_mpjpe_mm:.1f} mm"]
        parts += [] if keypoints is None else [f"2D {keypoints.percent_of_crop:.2f} % of the crop"]
        print(f"  {accuracy.handling:<12} {', '.join(parts)}")
    if source.takes_also_trained_on:
        print("  (training and evaluated frames come from the same clips)")
    print(f"wrote {Path(job.output) / 'evaluation.json'}")
    return 0
