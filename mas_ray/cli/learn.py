"""``mas-ray learn``: how well the method learns, on synthetic people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from mas_ray.cli.text_table import cell, text_table
from mas_ray.config.jobs import LearnJob, Workers
from mas_ray.reporting.summary_columns import HANDLING_NAMES, SUMMARY_COLUMNS

if TYPE_CHECKING:
    from mas_ray.evaluation.bars import BarOutcome
    from mas_ray.pipelines.learn import Learning, SeedMeasurement, StageMeasurement


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Train on 28 synthetic people without labels, measure on 8 others."""

    output: str = "learn"
    """Folder of everything that is written; the same command again goes on from what is there."""
    front_cue: Literal["easy", "hard"] = "easy"
    """How plainly clothes tell front from back. The hard variant has no bars to meet."""
    seeds: tuple[int, ...] = (0,)
    """One training run each; several also give mean and spread. About a quarter of an hour per seed on two cores."""
    workers: int = 2
    """Ray workers of ingest and training."""


def run(argv: Sequence[str]) -> int:
    """Measure, and print the figures."""
    return show(job_of(argv))


def job_of(argv: Sequence[str]) -> LearnJob:
    """The job that a command line stands for."""
    flags = tyro.cli(Flags, args=argv, prog="mas-ray learn", description=Flags.__doc__)
    return LearnJob(
        output=flags.output, front_cue=flags.front_cue, seeds=flags.seeds, workers=Workers(num=flags.workers)
    )


def show(job: LearnJob) -> int:
    """Run a learn job and print its figures. A bar that is missed is a result, not an error."""
    from mas_ray.pipelines.learn import learn  # torch, Ray and MLflow load only now

    learning = learn(job)
    source = learning.seeds[0].stages[-1].source
    print(f"{source.num_frame_sets} frame sets of unseen people, {job.front_cue} front cue, against {source.reference}")
    print("2D in % of the crop; MPJPE and P-MPJPE in mm, triangulated and of one view alone; r before any handling of")
    print("left and right; knees: how far they bend forward in mm by the names as predicted, with the standard error")
    print("over takes")
    for seed in learning.seeds:
        print(f"\nseed {seed.seed}: {seed.stages[-1].source.checkpoint}{_duration(seed)}")
        print(_stages(seed))
        if seed.bars:
            print(_bars(seed.bars))
    if learning.spread:
        print(f"\nlast stage over seeds {', '.join(map(str, job.seeds))}")
        print(_spread(learning))
    if job.front_cue == "hard":
        print("\nno bars are set for the hard front cue")
    print(f"\nwrote {Path(job.output) / job.front_cue / 'learn.json'}")
    return 0


def _duration(seed: SeedMeasurement) -> str:
    return "" if seed.training_s is None else f", trained in {seed.training_s / 60:.1f} min"


def _stages(seed: SeedMeasurement) -> str:
    rows = [["stage", "left and right", *(heading for heading, _ in SUMMARY_COLUMNS.values()), "r", "knees"]]
    for stage in seed.stages:
        for number, summary in enumerate(stage.under):
            figures = [
                cell(getattr(summary.figures, name), decimals) for name, (_, decimals) in SUMMARY_COLUMNS.items()
            ]
            before = [cell(stage.ambiguity_ratio, 3), _knees(stage)] if number == 0 else ["", ""]
            rows.append([stage.stage if number == 0 else "", HANDLING_NAMES[summary.handling], *figures, *before])
    return text_table(rows, num_names=2)


def _knees(stage: StageMeasurement) -> str:
    chirality = stage.knee_chirality
    return "-" if chirality is None else f"{chirality.mean_mm:.1f} ± {chirality.standard_error_mm:.1f}"


def _bars(bars: Sequence[BarOutcome]) -> str:
    rows = [
        [
            "met" if bar.met else "MISSED",
            bar.figure,
            cell(bar.value, 3 if bar.limit < 1 else 2),
            bar.kind,
            f"{bar.limit:g}",
        ]
        for bar in bars
    ]
    met = sum(bar.met for bar in bars)
    return f"  {met} of {len(bars)} bars met by the last stage\n{text_table(rows, num_names=2)}"


def _spread(learning: Learning) -> str:
    spread = {(each.handling, each.figure): each for each in learning.spread}
    rows = [["left and right", "seeds", *(heading for heading, _ in SUMMARY_COLUMNS.values()), "r", "knees"]]
    for handling, label in HANDLING_NAMES.items():
        for number, (name, field) in enumerate((("mean", "mean"), ("min", "lowest"), ("max", "highest"))):
            cells = [
                cell(getattr(spread.get((handling, figure)), field, None), decimals)
                for figure, (_, decimals) in SUMMARY_COLUMNS.items()
            ]
            for figure, decimals in (("ambiguity_ratio", 3), ("knee_chirality_mm", 1)):
                before = cell(getattr(spread.get((None, figure)), field, None), decimals)
                cells.append(before if handling == "raw" else "")
            rows.append([label if number == 0 else "", name, *cells])
    return text_table(rows, num_names=2)
