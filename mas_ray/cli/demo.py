"""``mas-ray demo``: the main job on sample video, from fetch to report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from mas_ray.assets import AssetUnavailableError
from mas_ray.config.jobs import DemoJob, Workers


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Ingest, train, evaluate, predict and report on sample video. Run it again to go on or to reuse."""

    corpus: Literal["balancing", "synthetic"] = "balancing"
    """Real four-camera video from the package index, or synthetic people, which need no network."""
    output: str = "demo"
    """Folder of everything that is written."""
    workers: int = 2
    """Ray workers of ingest and training."""
    gpus: bool = False
    """Give each training worker a GPU."""
    from_scratch: bool = False
    """Train the whole cascade from random weights; otherwise the packaged networks are fine-tuned."""


def run(argv: Sequence[str]) -> int:
    """Run the main job, and say where its results are."""
    return show(job_of(argv))


def job_of(argv: Sequence[str]) -> DemoJob:
    """The job that a command line stands for."""
    flags = tyro.cli(Flags, args=argv, prog="mas-ray demo", description=Flags.__doc__)
    return DemoJob(
        output=flags.output,
        corpus=flags.corpus,
        workers=Workers(num=flags.workers, gpus_each=1.0 if flags.gpus else 0.0),
        from_scratch=flags.from_scratch,
    )


def show(job: DemoJob) -> int:
    """Run a demo job and print where its results are."""
    from mas_ray.pipelines.demo import demo  # torch, Ray and MLflow load only now

    try:
        result = demo(job)
    except AssetUnavailableError as error:
        raise OSError(f"{error}; without a package index: mas-ray demo --corpus synthetic") from error
    phases = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.seconds.items())
    print(f"\nphases    {phases}")
    print(f"report    {result.report}")
    for path in result.overlays[:8]:
        print(f"overlay   {path}")
    if len(result.overlays) > 8:
        print(f"          and {len(result.overlays) - 8} more in {Path(result.overlays[0]).parent}")
    mlflow = Path(sys.executable).with_name("mlflow")
    print(f"tracking  {mlflow} ui --backend-store-uri {result.tracking_uri}")
    return 0
