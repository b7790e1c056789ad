"""How well the label-free yardstick ranks the trials of a sweep by their true pose error.

    python benchmarks/yardstick.py SWEEP MANIFEST ANNOTATIONS [--split validation] [--output FILE.md]

SWEEP is a folder with ``trials/<id>/``, each a run folder of ``mas-ray train`` whose job has a ``yardstick``. The final
checkpoint of every finished trial is evaluated against the reference joints, which nothing else here has seen; what
the yardstick said of the same weights is read from the epoch that they were taken at. Prints a table of the trials, and
Spearman's ρ of each term with each error, with a 95 % interval: 1 means that the term ranks trials as the error does.
The last line is the naive alternative, each trial's own held-out reconstruction loss. Some seconds a trial for a few
hundred frame sets.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import print_table

from mas_ray.checkpoint import Progress
from mas_ray.config import codec
from mas_ray.config.jobs import TrainJob
from mas_ray.evaluation.left_right import Handling
from mas_ray.evaluation.protocol import evaluate_comparison
from mas_ray.evaluation.rank_correlation import rank_correlation
from mas_ray.evaluation.summary import summarise
from mas_ray.inference import FrameSetEstimator
from mas_ray.pipelines.evaluate_split import compare_with_reference
from mas_ray.pipelines.run_folder import read_cascade_result, read_job, stage_folder
from mas_ray.reporting.markdown import figure, table
from mas_ray.shards.location import location
from mas_ray.shards.manifest import SplitName
from mas_ray.tracking.spool import read_spool
from mas_ray.training.yardstick import TERMS

SCORES = ("score", *TERMS)
OWN_LOSS = "own held-out loss"
MEASURED = (*SCORES, OWN_LOSS)
HANDLINGS: tuple[tuple[Handling, str], ...] = (("oracle_pose", "oracle"), ("global_bit", "global bit"))
PLACES = ("name", "storage", "checkpoints", "tracking_uri", "registered_model", "manifest")

Errors = Mapping[str, float | None]
"""By name, in millimetres and percent of the crop's side; None where nothing was comparable."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A finished trial, and what was measured of its final checkpoint without labels."""

    name: str
    job: TrainJob
    checkpoint: Path
    measured: Mapping[str, float]
    """By name; a term that could not be measured is not there."""


def read_trials(sweep: Path) -> tuple[list[Trial], list[str]]:
    """The finished trials of a sweep, and why the others are left out.

    Raises:
        ValueError: There are none, or they were not measured by one and the same yardstick.
    """
    trials: list[Trial] = []
    left_out: list[str] = []
    for run in sorted(path.parent for path in sweep.glob("trials/*/job.json")):
        try:
            trials.append(_read_trial(run))
        except ValueError as error:
            left_out.append(str(error))
    if not trials:
        raise ValueError(f"{sweep / 'trials'}: no finished trial with a yardstick; {'; '.join(left_out) or 'no runs'}")
    if len({codec.dumps(trial.job.yardstick) for trial in trials}) > 1:
        raise ValueError(f"{sweep / 'trials'}: the trials were measured by different yardsticks")
    return trials, left_out


def _read_trial(run: Path) -> Trial:
    job, checkpoint = read_job(run), run / read_cascade_result(run).checkpoint
    progress = codec.loads(Progress, (checkpoint / "progress.json").read_text(), str(checkpoint / "progress.json"))
    spool = stage_folder(run, job.cascade, progress.stage) / "metrics.jsonl"
    taken = {line["epoch"]: line for line in read_spool(spool)}.get(progress.num_epochs - 1, {})
    if job.yardstick is None or "yardstick/score" not in taken:
        raise ValueError(f"{spool}: epoch {progress.num_epochs - 1} was not measured by a yardstick")
    names = {name: f"yardstick/{name}" for name in SCORES} | {OWN_LOSS: "validation/reconstruction"}
    measured = {name: taken[key] for name, key in names.items() if key in taken}
    return Trial(name=run.name, job=job, checkpoint=checkpoint, measured=measured)


def errors_of(trial: Trial, *, manifest: str, annotations: Path, split: SplitName) -> Errors:
    """The true errors of a trial's final checkpoint, under two handlings of left and right."""
    estimator = FrameSetEstimator.load(trial.checkpoint)
    found = compare_with_reference(
        estimator, name=str(trial.checkpoint), manifest=location(manifest), annotations=annotations, split=split
    )
    evaluation = evaluate_comparison(
        found.comparison, estimator.skeleton, source=found.source, takes=found.takes, actions=found.actions
    )
    errors: dict[str, float | None] = {}
    for handling, name in HANDLINGS:
        summary = summarise(evaluation, handling)
        errors[f"MPJPE, {name}"] = summary.mpjpe_mm
        errors[f"P-MPJPE, {name}"] = summary.p_mpjpe_mm
        errors[f"2D %, {name}"] = summary.percent_of_crop
    return errors


def trial_rows(trials: Sequence[Trial], errors: Sequence[Errors]) -> list[list[str]]:
    """A table, its header first: a trial a line, with the fields of the jobs that differ."""
    jobs = [_fields(codec.to_json(trial.job)) for trial in trials]
    paths = list(dict.fromkeys(path for job in jobs for path in job))
    swept = [path for path in paths if path not in PLACES and len({repr(job.get(path)) for job in jobs}) > 1]
    header = [
        "trial",
        *(path.removeprefix("cascade.").removeprefix("stages.") for path in swept),
        *MEASURED,
        *errors[0],
    ]
    return [
        header,
        *(
            [
                trial.name,
                *(_text(job.get(path)) for path in swept),
                *(figure(trial.measured.get(name), 4) for name in MEASURED),
                *(figure(of_trial[name], 2) for name in errors[0]),
            ]
            for trial, job, of_trial in zip(trials, jobs, errors, strict=True)
        ),
    ]


def correlation_rows(trials: Sequence[Trial], errors: Sequence[Errors]) -> list[list[str]]:
    """A table, its header first: how well each term ranks the trials by each error."""
    rows = [["ρ (95 %)", *errors[0]]]
    for term in MEASURED:
        cells = [term]
        for name in errors[0]:
            pairs = [
                (trial.measured[term], error)
                for trial, of_trial in zip(trials, errors, strict=True)
                if term in trial.measured and (error := of_trial[name]) is not None
            ]
            found = rank_correlation([a for a, _ in pairs], [b for _, b in pairs])
            cells.append("-" if found is None else f"{found.rho:+.2f} ({found.low:+.2f} to {found.high:+.2f})")
        rows.append(cells)
    return rows


def _fields(value: Any, path: str = "") -> dict[str, Any]:
    """What stands at each path of a record; items of a list go by their name, if they have one."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value = {item.get("name", str(n)): item for n, item in enumerate(value)}
    if not isinstance(value, dict):
        return {path: value}
    parts = [_fields(item, f"{path}.{key}" if path else key) for key, item in value.items()]
    return {path: leaf for part in parts for path, leaf in part.items()}


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Print both tables, and write them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("manifest")
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--split", choices=("train", "validation", "test"), default="validation")
    parser.add_argument("--output", type=Path, help="write the tables as Markdown, too")
    flags = parser.parse_args()
    try:
        trials, left_out = read_trials(flags.sweep)
        errors = [
            errors_of(trial, manifest=flags.manifest, annotations=flags.annotations, split=flags.split)
            for trial in trials
        ]
    except ValueError as error:
        sys.exit(str(error))
    for reason in left_out:
        print(f"left out: {reason}")
    tables = {
        f"{len(trials)} trials; errors of the {flags.split} split in mm and percent of the crop": trial_rows(
            trials, errors
        ),
        f"Spearman's ρ over {len(trials)} trials": correlation_rows(trials, errors),
    }
    for title, (header, *body) in tables.items():
        print_table(title, header, body)
    if flags.output:
        flags.output.write_text("\n\n".join(f"{title}\n\n{table(rows)}" for title, rows in tables.items()) + "\n")


if __name__ == "__main__":
    main()
