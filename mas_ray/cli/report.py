"""``mas-ray report``: put a run, a dataset, a sweep or an evaluation into one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mas_ray.config import codec
from mas_ray.config.jobs import ReportJob, TrainJob

_PICTURES = 36


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Put a run, a dataset, a sweep or an evaluation into one HTML file that needs nothing else.

    Of a dataset it is the contact sheet of accepted and rejected pictures. Sweeps and evaluations write their page
    themselves; it is copied if --output is given.
    """

    of: Annotated[str, tyro.conf.arg(metavar="FOLDER"), tyro.conf.Positional] = ""
    """The folder of a run, a dataset, a sweep or an evaluation."""
    run: str = ""
    """A run's folder, in place of the above."""
    manifest: str = ""
    """Of a run: manifest.json of its dataset; without it where that was when it was trained."""
    output: str = ""
    """The HTML file to write; without it report.html in the run's folder, or in the one you are in."""
    evaluation: str | None = None
    """Of a run: folder of an evaluation's output."""
    predictions: str | None = None
    """Of a run: folder of a prediction's output."""


def run(argv: Sequence[str]) -> int:
    """Write the report, and say where it is."""
    flags = _flags(argv)
    folder = Path(flags.of)
    if flags.of and not (folder / "run.json").is_file():
        return _of_something_else(flags, folder)
    return show(_job(flags))


def job_of(argv: Sequence[str]) -> ReportJob:
    """The job that a command line stands for: the report of a run."""
    return _job(_flags(argv))


def show(job: ReportJob) -> int:
    """Write a report and print where it is."""
    from mas_ray.pipelines.report import report  # torch loads only now

    print(f"wrote {report(job)}")
    return 0


def _flags(argv: Sequence[str]) -> Flags:
    flags = tyro.cli(Flags, args=argv, prog="mas-ray report", description=Flags.__doc__)
    if bool(flags.of) == bool(flags.run):
        raise ValueError("name the folder of a run, a dataset, a sweep or an evaluation")
    return flags


def _job(flags: Flags) -> ReportJob:
    folder = flags.run or flags.of
    return ReportJob(
        run=folder,
        manifest=flags.manifest or _trained_on(Path(folder) / "job.json"),
        output=flags.output or str(Path(folder) / "report.html"),
        evaluation=flags.evaluation,
        predictions=flags.predictions,
    )


def _trained_on(record: Path) -> str:
    if not record.is_file():
        raise ValueError(f"{record}: no such file; expected the folder of a run")
    return codec.loads(TrainJob, record.read_text(encoding="utf-8"), str(record)).manifest


def _of_something_else(flags: Flags, folder: Path) -> int:
    if flags.manifest or flags.evaluation or flags.predictions:
        raise ValueError("--manifest, --evaluation, --predictions: belong to the report of a run")
    for page in ("sweep.html", "evaluation.html"):
        if (folder / page).is_file():
            return _copied(folder / page, flags.output)
    from mas_ray.pipelines.show import manifest_path, write_contact_sheet  # OpenCV loads only now
    from mas_ray.shards.location import location

    dataset = location(flags.of)
    if not manifest_path(dataset).exists():
        raise ValueError(
            f"{flags.of}: no run (run.json), dataset (manifest.json), sweep (sweep.html) or evaluation "
            "(evaluation.html) here"
        )
    output = Path(flags.output or "report.html")
    write_contact_sheet(dataset, output, num=_PICTURES)
    print(f"wrote {output}")
    return 0


def _copied(page: Path, output: str) -> int:
    if output:
        from mas_ray.shards.write import write_text

        write_text(Path(output), page.read_text(encoding="utf-8"))
        print(f"wrote {output}")
    else:
        print(f"it is there already: {page}")
    return 0
