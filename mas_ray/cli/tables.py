"""``mas-ray tables``: the ablations beside the published tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from mas_ray.config.jobs import LearnJob, SweepTablesJob, TablesJob


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Train every ablation briefly, in this process without Ray, and print its figures beside the published ones.

    With --sweep, train nothing: measure what `mas-ray tune` has trained, over its seeds.
    """

    sweep: str = ""
    """Folder of a sweep of the paper's ablations, as jobs/ablations.py makes it; finished trials are measured."""
    manifest: str = ""
    """manifest.json of the dataset; without it that of `mas-ray learn`, which is made first if need be (with Ray). With
    --sweep, the one that it trained on; without it where it was then."""
    annotations: str = ""
    """Folder of its reference joints."""
    output: str = ""
    """Folder of everything that is written; the same command again goes on from what is there. Without it `tables`,
    or the folder of that name in the sweep's."""
    steps_share: float = 0.3
    """Share of the recipe's training steps that every row takes."""
    seed: int = 0
    """Of weights, batches and warps, the same in every row."""


def run(argv: Sequence[str]) -> int:
    """Measure, and print the tables."""
    job = job_of(argv)
    return show(job if job.manifest or isinstance(job, SweepTablesJob) else _with_learning_dataset(job))


def job_of(argv: Sequence[str]) -> TablesJob | SweepTablesJob:
    """The job that a command line stands for; without a manifest it is for the dataset of mas-ray learn."""
    flags = tyro.cli(Flags, args=argv, prog="mas-ray tables", description=Flags.__doc__)
    if flags.sweep:
        return _of_sweep(flags)
    job = TablesJob(
        manifest=flags.manifest,
        annotations=flags.annotations,
        output=flags.output or "tables",
        steps_share=flags.steps_share,
        seed=flags.seed,
    )
    if bool(job.manifest) != bool(job.annotations):
        raise ValueError("--manifest, --annotations: name both, or neither for the dataset of mas-ray learn")
    return job


def _of_sweep(flags: Flags) -> SweepTablesJob:
    if not flags.annotations:
        raise ValueError("--annotations: name the folder of reference joints; a sweep knows none")
    if (flags.steps_share, flags.seed) != (Flags.steps_share, Flags.seed):
        raise ValueError("--steps-share, --seed: a sweep has been trained; leave them away")
    return SweepTablesJob(
        sweep=flags.sweep,
        annotations=flags.annotations,
        output=flags.output or str(Path(flags.sweep) / "tables"),
        manifest=flags.manifest or None,
    )


def _with_learning_dataset(job: TablesJob) -> TablesJob:
    from mas_ray.pipelines.learn import learning_dataset  # torch, Ray and MLflow load only now

    dataset = learning_dataset(LearnJob())
    return replace(job, manifest=str(dataset.manifest), annotations=str(dataset.annotations))


def show(job: TablesJob | SweepTablesJob) -> int:
    """Run a tables job and print what it measured."""
    if isinstance(job, SweepTablesJob):
        from mas_ray.pipelines.sweep_tables import sweep_tables  # torch loads only now

        print(sweep_tables(job))
    else:
        from mas_ray.pipelines.tables import tables  # torch loads only now

        print(tables(job))
    for name in ("tables.md", "tables.json"):
        print(f"wrote {Path(job.output) / name}")
    return 0
