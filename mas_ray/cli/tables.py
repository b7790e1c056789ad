"""``mas-ray tables``: the ablations beside the published tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from mas_ray.config.jobs import LearnJob, TablesJob


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Train every ablation briefly, in this process without Ray, and print its figures beside the published ones."""

    manifest: str = ""
    """manifest.json of the dataset; without it that of `mas-ray learn`, which is made first if need be (with Ray)."""
    annotations: str = ""
    """Folder of its reference joints."""
    output: str = "tables"
    """Folder of everything that is written; the same command again goes on from what is there."""
    steps_share: float = 0.3
    """Share of the recipe's training steps that every row takes."""
    seed: int = 0
    """Of weights, batches and warps, the same in every row."""


def run(argv: Sequence[str]) -> int:
    """Measure, and print the tables."""
    flags = tyro.cli(Flags, args=argv, prog="mas-ray tables", description=Flags.__doc__)
    job = TablesJob(
        manifest=flags.manifest,
        annotations=flags.annotations,
        output=flags.output,
        steps_share=flags.steps_share,
        seed=flags.seed,
    )
    if bool(job.manifest) != bool(job.annotations):
        raise ValueError("--manifest, --annotations: name both, or neither for the dataset of mas-ray learn")
    return show(job if job.manifest else _with_learning_dataset(job))


def _with_learning_dataset(job: TablesJob) -> TablesJob:
    from mas_ray.pipelines.learn import learning_dataset  # torch, Ray and MLflow load only now

    dataset = learning_dataset(LearnJob())
    return replace(job, manifest=str(dataset.manifest), annotations=str(dataset.annotations))


def show(job: TablesJob) -> int:
    """Run a tables job and print what it measured."""
    from mas_ray.pipelines.tables import tables  # torch loads only now

    print(tables(job))
    for name in ("tables.md", "tables.json"):
        print(f"wrote {Path(job.output) / name}")
    return 0
