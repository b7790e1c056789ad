"""``mas-ray evaluate``: compare a checkpoint with reference joints."""

from __future__ import annotations

from collections.abc import Sequence

import tyro

from mas_ray.config.jobs import EvaluateJob


def run(argv: Sequence[str]) -> int:
    """Evaluate, and say the main figures under every handling of left and right."""
    return show(job_of(argv))


def job_of(argv: Sequence[str]) -> EvaluateJob:
    """The job that a command line stands for."""
    return tyro.cli(EvaluateJob, args=argv, prog="mas-ray evaluate", description=EvaluateJob.__doc__)


def show(job: EvaluateJob) -> int:
    """Run an evaluation and print the main figures."""
    from mas_ray.cli.evaluation_summary import print_change, print_evaluation
    from mas_ray.evaluation.comparability import check_comparable
    from mas_ray.evaluation.record import read_evaluation
    from mas_ray.pipelines.evaluate import evaluate, evaluation_file  # torch loads only now
    from mas_ray.shards.location import location

    other = None if job.against is None else read_evaluation(evaluation_file(job.against))
    evaluation = evaluate(job)
    print_evaluation(evaluation)
    for name in ("evaluation.json", "evaluation.html"):
        print(f"wrote {location(job.output) / name}")
    if other is not None:
        check_comparable(evaluation, other, str(job.against))
        print_change(evaluation, other)
    return 0
