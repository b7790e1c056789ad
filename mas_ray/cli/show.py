"""``mas-ray show``: what a dataset holds and what was left out of it and why, or how far a training run is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mas_ray.cli.run_summary import print_run

if TYPE_CHECKING:
    from mas_ray.pipelines.show import DatasetSummary, Histogram

_BAR_WIDTH = 24


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Say what a dataset holds, and what was left out of it and why; of a run folder, how far its training is."""

    dataset: tyro.conf.Positional[str]
    """The dataset (its folder or its manifest.json) or the folder of a training run, on a disk or in an object store;
    or the folder of a sweep. Of the flags, --json alone applies to a run and to a sweep."""
    limit: int = 20
    """Takes to list, the worst first."""
    reason: str | None = None
    """List only takes whose main reason is this one."""
    sample: int = 2000
    """About how many instants to read for the histograms, evenly spread."""
    json: bool = False
    """Print JSON, with every take."""
    contact_sheet: str | None = None
    """Also write an HTML page of accepted and rejected pictures to this file."""
    pictures: int = 36
    """Pictures on that page: accepted ones, and rejected ones of each reason."""


def run(argv: Sequence[str]) -> int:
    """Print the summary; write the contact sheet if asked."""
    flags = tyro.cli(Flags, args=argv, prog="mas-ray show", description=Flags.__doc__)
    for name in ("limit", "sample", "pictures"):
        if getattr(flags, name) < 1:
            raise ValueError(f"--{name}: expected at least 1, got {getattr(flags, name)}")
    from mas_ray.config import codec
    from mas_ray.pipelines.show_run import is_run, summarise_run
    from mas_ray.shards.location import location  # pyarrow loads only now

    dataset = location(flags.dataset)
    if is_run(dataset):
        run_summary = summarise_run(dataset)
        if flags.json:
            print(codec.dumps(run_summary), end="")
        else:
            print_run(run_summary)
        return 0
    if (Path(flags.dataset) / "sweep.json").is_file():
        from mas_ray.cli.sweep_table import print_sweep, print_sweep_json

        (print_sweep_json if flags.json else print_sweep)(Path(flags.dataset))
        return 0
    from mas_ray.pipelines.show import manifest_path, summarise, write_contact_sheet  # OpenCV loads only now

    if not manifest_path(dataset).exists():
        raise ValueError(
            f"{flags.dataset}: no dataset (manifest.json), run (job.json and stages/) or sweep (sweep.json) here"
        )
    summary = summarise(dataset, sample=flags.sample)
    if flags.json:
        print(codec.dumps(summary), end="")
    else:
        _print(summary, limit=flags.limit, reason=flags.reason)
    if flags.contact_sheet is not None:
        write_contact_sheet(dataset, Path(flags.contact_sheet), num=flags.pictures)
        Console(stderr=flags.json).print(Text(f"wrote {flags.contact_sheet}"), soft_wrap=True)
    return 0


def _print(summary: DatasetSummary, *, limit: int, reason: str | None) -> None:
    console = Console()
    console.print(
        Text(
            f"{summary.takes_accepted:,} takes kept, {summary.takes_rejected:,} left out\n"
            f"{summary.instants:,} instants, {summary.views:,} views, {_duration(summary.hours)} of source time, "
            f"{summary.shards:,} shards\n"
            f"{summary.splits}\n" + (f"{summary.splits.warning}\n" if summary.splits.warning else "")
        ),
        soft_wrap=True,
    )
    _section(console, "left out", _rejects(summary))
    clips = [clip for clip in summary.clips if reason is None or clip.reason == reason]
    takes = _table(("take", "main reason"), ("frames", "kept"))
    for clip in clips[:limit]:
        takes.add_row(Text(clip.take_id), Text(clip.reason), f"{clip.frames:,}", f"{clip.kept:,}")
    _section(console, "takes, the worst first", takes)
    if len(clips) > limit:
        console.print(Text(f"and {len(clips) - limit:,} more (--limit)\n"))
    every = f" (one instant in {summary.sampled_every})" if summary.sampled_every > 1 else ""
    for name, histogram in (
        ("height of the mask, source px", summary.mask_height_px),
        ("area of the mask, source px", summary.mask_area_px),
        ("column of its middle, source px", summary.column_px),
        ("row of its middle, source px", summary.row_px),
    ):
        _section(console, name + every, _bars(histogram))


def _duration(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"


def _rejects(summary: DatasetSummary) -> Table:
    rejects = _table(("reason", "of"), ("count",))
    for reject in sorted(summary.rejects, key=lambda reject: (-reject.count, reject.reason, reject.level)):
        rejects.add_row(Text(reject.reason), reject.level, f"{reject.count:,}")
    return rejects


def _bars(histogram: Histogram) -> Table:
    bars = _table(("from", "to"), ("count",))
    bars.add_column("")
    for count, low, high in zip(histogram.counts, histogram.edges[:-1], histogram.edges[1:], strict=True):
        length = round(_BAR_WIDTH * count / max(histogram.counts))
        bars.add_row(f"{low:,.0f}", f"{high:,.0f}", f"{count:,}", "█" * length)
    return bars


def _table(names: Sequence[str], figures: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    for figure in figures:
        table.add_column(figure, justify="right")
    return table


def _section(console: Console, title: str, table: Table) -> None:
    if table.row_count:
        console.print(Text(title, style="bold"), soft_wrap=True)
        console.print(table)
        console.print()
