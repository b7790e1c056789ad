"""``mas-ray evaluate``: compare a checkpoint with reference joints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from mas_ray.cli.ingest import Method, mask_config
from mas_ray.config.jobs import EvaluateJob, EvaluateMpiiJob


@dataclass(frozen=True, kw_only=True)
class MpiiFlags:
    """Compare a checkpoint's keypoints in single pictures with MPII's validation set (PCKh)."""

    mpii: str
    """Folder with images/ and annot/ (docs/corpora/mpii.md)."""
    checkpoint: str
    """A checkpoint folder or its URI, `packaged`, or `models:/NAME@ALIAS` of MLflow's registry."""
    output: str
    """Where `mpii.json` goes (a folder, or its URI)."""
    masks: Method = "selfie"
    """How the person is found, where the checkpoint's pictures have no background."""
    tracking_uri: str | None = None
    """MLflow store of a `models:/` checkpoint; without it what MLFLOW_TRACKING_URI says."""


def run(argv: Sequence[str]) -> int:
    """Evaluate, and say the main figures under every handling of left and right."""
    return show(job_of(argv))


def job_of(argv: Sequence[str]) -> EvaluateJob | EvaluateMpiiJob:
    """The job that a command line stands for."""
    if any(argument.partition("=")[0] == "--mpii" for argument in argv):
        flags = tyro.cli(MpiiFlags, args=argv, prog="mas-ray evaluate", description=MpiiFlags.__doc__)
        return EvaluateMpiiJob(
            mpii=flags.mpii,
            checkpoint=flags.checkpoint,
            output=flags.output,
            masks=mask_config(flags.masks),
            tracking_uri=flags.tracking_uri,
        )
    description = f"{EvaluateJob.__doc__}\n\nWith --mpii ROOT: keypoints against MPII's validation set (--mpii --help)."
    return tyro.cli(EvaluateJob, args=argv, prog="mas-ray evaluate", description=description)


def show(job: EvaluateJob | EvaluateMpiiJob) -> int:
    """Run an evaluation and print the main figures."""
    if isinstance(job, EvaluateMpiiJob):
        return _show_mpii(job)
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


def _show_mpii(job: EvaluateMpiiJob) -> int:
    from mas_ray.cli.evaluation_summary import print_mpii
    from mas_ray.pipelines.evaluate_mpii import evaluate_mpii  # torch loads only now
    from mas_ray.shards.location import location

    print_mpii(evaluate_mpii(job))
    print(f"wrote {location(job.output) / 'mpii.json'}")
    return 0
