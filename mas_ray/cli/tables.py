"""``mas-ray tables``: the ablations beside the published tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from mas_ray.config.jobs import CollectedTablesJob, LearnJob, RowEvaluation, SweepTablesJob, TablesJob


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Train every row of the paper's tables briefly, in this process without Ray, and print it beside the published.

    With --sweep, train nothing: measure what `mas-ray tune` has trained, over its seeds.
    """

    corpus: Literal["synthetic"] = "synthetic"
    """What is learned from if no manifest is named: the dataset of `mas-ray learn`, and single views of other people
    for Table 3; they are made first if need be (with Ray)."""
    evaluations: tuple[str, ...] = ()
    """Train nothing: collect evaluations, each as ROW=FOLDER, such as whole=evaluations/human36m; rows are what is
    taken away, as in tables.json. What is not named is blank."""
    sweep: str = ""
    """Folder of a sweep of the paper's ablations, as jobs/ablations.py makes it; finished trials are measured."""
    manifest: str = ""
    """manifest.json of the dataset; without it the corpus is made. With --sweep, the one that it trained on; without it
    where it was then."""
    annotations: str = ""
    """Folder of its reference joints."""
    single_view_manifest: str = ""
    """manifest.json of a dataset of single views, for the mixed-view row of Table 3."""
    components: bool = False
    """Also what is not of the paper: our own components, one taken away at a time. Three times the rows."""
    output: str = ""
    """Folder of everything that is written; the same command again goes on from what is there. Without it `tables`,
    or the folder of that name in the sweep's."""
    steps_share: float = 0.1
    """Share of the recipe's training steps that every row takes."""
    seed: int = 0
    """Of weights, batches and warps, the same in every row."""


def run(argv: Sequence[str]) -> int:
    """Measure, and print the tables."""
    job = job_of(argv)
    return show(_with_learning_dataset(job) if isinstance(job, TablesJob) and not job.manifest else job)


def job_of(argv: Sequence[str]) -> TablesJob | SweepTablesJob | CollectedTablesJob:
    """The job that a command line stands for; without a manifest it is for the dataset of mas-ray learn."""
    flags = tyro.cli(Flags, args=argv, prog="mas-ray tables", description=Flags.__doc__)
    if flags.evaluations:
        return _collected(flags)
    if flags.sweep:
        return _of_sweep(flags)
    job = TablesJob(
        manifest=flags.manifest,
        annotations=flags.annotations,
        single_view_manifest=flags.single_view_manifest or None,
        components=flags.components,
        output=flags.output or "tables",
        steps_share=flags.steps_share,
        seed=flags.seed,
    )
    if bool(job.manifest) != bool(job.annotations):
        raise ValueError("--manifest, --annotations: name both, or neither for the dataset of mas-ray learn")
    return job


def _collected(flags: Flags) -> CollectedTablesJob:
    if flags != Flags(evaluations=flags.evaluations, output=flags.output):
        raise ValueError("--evaluations: takes no other flag but --output")
    pairs = [pair.partition("=") for pair in flags.evaluations]
    if wrong := [row for row, _, evaluation in pairs if not evaluation]:
        raise ValueError(f"--evaluations: expected ROW=FOLDER, got {wrong[0]!r}")
    return CollectedTablesJob(
        evaluations=tuple(RowEvaluation(row=row, evaluation=evaluation) for row, _, evaluation in pairs),
        output=flags.output or "tables",
    )


def _of_sweep(flags: Flags) -> SweepTablesJob:
    if not flags.annotations:
        raise ValueError("--annotations: name the folder of reference joints; a sweep knows none")
    if (flags.steps_share, flags.seed, flags.components) != (Flags.steps_share, Flags.seed, False):
        raise ValueError("--steps-share, --seed, --components: a sweep has been trained; leave them away")
    return SweepTablesJob(
        sweep=flags.sweep,
        annotations=flags.annotations,
        output=flags.output or str(Path(flags.sweep) / "tables"),
        manifest=flags.manifest or None,
    )


def _with_learning_dataset(job: TablesJob) -> TablesJob:
    from mas_ray.pipelines.learn import learning_dataset, single_view_dataset  # torch, Ray and MLflow load only now

    dataset = learning_dataset(LearnJob())
    return replace(
        job,
        manifest=str(dataset.manifest),
        annotations=str(dataset.annotations),
        single_view_manifest=job.single_view_manifest or str(single_view_dataset(LearnJob())),
    )


def show(job: TablesJob | SweepTablesJob | CollectedTablesJob) -> int:
    """Run a tables job and print what it measured."""
    if isinstance(job, CollectedTablesJob):
        from mas_ray.pipelines.collected_tables import collected_tables  # torch loads only now

        print(collected_tables(job))
        print(f"wrote {Path(job.output) / 'tables.md'}")
        return 0
    if isinstance(job, SweepTablesJob):
        from mas_ray.pipelines.sweep_tables import sweep_tables  # torch loads only now

        print(sweep_tables(job))
    else:
        from mas_ray.pipelines.tables import tables  # torch loads only now

        print(tables(job))
    for name in ("tables.md", "tables.json"):
        print(f"wrote {Path(job.output) / name}")
    return 0
