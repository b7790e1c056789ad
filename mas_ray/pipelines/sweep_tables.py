"""tables of a sweep: the ablations that ``mas-ray tune`` trained, measured beside the published tables, over seeds.

Reference joints are read after training; neither a trial nor what ranks trials ever sees them.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from mas_ray.checkpoint import load_checkpoint
from mas_ray.config import codec
from mas_ray.config.ablations import ablated
from mas_ray.config.cascade import CascadeConfig
from mas_ray.config.jobs import SweepTablesJob, TrainJob
from mas_ray.config.published import PAPER, AblationRow
from mas_ray.config.sweep import GridSearch, TuneJob, grid, trial_job
from mas_ray.models.detector import create_detector
from mas_ray.models.shape_prior import create_shape_prior
from mas_ray.pipelines.ablation_training import KeyedDataset, open_dataset
from mas_ray.pipelines.claim import RunRecord
from mas_ray.pipelines.row_measurement import measure_row, recorded, reference_digests
from mas_ray.pipelines.run_folder import read_cascade_result, read_job
from mas_ray.pipelines.sweep_folder import Trial, read_sweep, read_trials, trial_folder
from mas_ray.reporting.ablations_over_seeds import ablations_over_seeds_as_markdown
from mas_ray.reporting.measured_row import MeasuredRow
from mas_ray.shards.location import location
from mas_ray.shards.manifest import file_sha256
from mas_ray.shards.write import write_text
from mas_ray.training.state import Networks

FORMAT = "mas-ray sweep tables 1"
_MAY_VARY = ("without", "cascade.seed")


@dataclass(frozen=True, kw_only=True)
class SweptRow:
    """A row of the tables, measured of one trial."""

    trial: int
    seed: int
    row: MeasuredRow


@dataclass(frozen=True, kw_only=True)
class SweepTables:
    """The record of all rows of all seeds; ``tables.json`` is its JSON form."""

    format: str
    job: SweepTablesJob
    rows: tuple[SweptRow, ...]
    left_out: tuple[str, ...]
    """The trials that are not part of the figures, each with its reason."""


@dataclass(frozen=True, kw_only=True)
class _Trained:
    """A finished trial of a recipe that the tables have."""

    number: int
    whole: CascadeConfig
    """With its seed, before anything is taken away."""
    cascade: CascadeConfig
    rows: tuple[AblationRow, ...]
    checkpoint: Path


def sweep_tables(job: SweepTablesJob) -> str:
    """Measure the finished trials that are not measured yet; the tables in Markdown.

    The output folder holds ``rows/``, a record per row and seed, and finally ``tables.md`` and ``tables.json``. Records
    are named by dataset, recipe, weights and reference joints: those of others are never reused, those of other code
    are (delete the folder).

    Raises:
        ValueError: The folder is no sweep of ablations, none of its trials can be measured, or the dataset or the
            annotations are not as they need to be; the message names the file.
    """
    sweep, output = Path(job.sweep), Path(job.output)
    swept = read_sweep(sweep)
    for dimension in swept.space:
        if dimension.field not in _MAY_VARY:
            raise ValueError(
                f"{sweep / 'sweep.json'}: {dimension.field} varies; expected {' and '.join(_MAY_VARY)} alone to vary"
            )
    dataset = open_dataset(location(job.manifest or swept.base.manifest))
    reference = reference_digests(Path(job.annotations))
    trained, left_out = _trained_trials(sweep, swept)
    if not trained:
        raise ValueError(f"{sweep}: no finished trial of a row of the tables; {'; '.join(left_out) or 'none began'}")
    for trial in trained:
        _check_dataset(trial_folder(sweep, trial.number) / "run.json", dataset)
    rows: list[SweptRow] = []
    measured: defaultdict[str, dict[int, MeasuredRow]] = defaultdict(dict)
    for number, trial in enumerate(trained, start=1):
        for row in trial.rows:
            seed = trial.cascade.seed
            title = f"{number}/{len(trained)} {row.name}, seed {seed}"
            key = dataset.key(trial.cascade, file_sha256(trial.checkpoint / "model.pt"), reference)
            found = recorded(
                output / "rows" / f"{row.name}-seed{seed}-{key}.json",
                title,
                functools.partial(_measure, row, trial, Path(job.annotations), dataset, title=title),
            )
            measured[row.name][seed] = found
            rows.append(SweptRow(trial=trial.number, seed=seed, row=found))
    text = ablations_over_seeds_as_markdown(
        measured,
        sweep=swept.base.name,
        cascade=trained[0].whole,
        initial=swept.base.initial,
        left_out=left_out,
    )
    record = SweepTables(format=FORMAT, job=job, rows=tuple(rows), left_out=tuple(left_out))
    write_text(output / "tables.json", codec.dumps(record))
    write_text(output / "tables.md", text)
    return text


def _trained_trials(sweep: Path, swept: TuneJob) -> tuple[list[_Trained], list[str]]:
    """The trials to measure, and why each of the others is not."""
    trained: dict[str, _Trained] = {}
    left_out: list[str] = []
    trials = read_trials(sweep)
    for trial in trials:
        planned = trial_job(swept, trial.drawn)
        recipe = ablated(planned.cascade, planned.without)
        name = _name(trial.number, planned)
        found = _why_not(sweep, trial, recipe)
        rows = {row.name: row for row in PAPER if row.recipe(planned.cascade) == recipe}
        key = codec.dumps(recipe)
        if found is None and not rows:
            found = "the tables have no such row"
        if found is None and key in trained:
            found = f"the same as trial {trained[key].number:04d}"
        if found is not None:
            left_out.append(f"{name}: {found}")
            continue
        run = trial_folder(sweep, trial.number)
        trained[key] = _Trained(
            number=trial.number,
            whole=planned.cascade,
            cascade=recipe,
            rows=tuple(rows.values()),
            checkpoint=run / read_cascade_result(run).checkpoint,
        )
    if isinstance(swept.search, GridSearch):
        begun = {trial.number for trial in trials}
        for number, drawn in enumerate(grid(swept)):
            if number not in begun:
                left_out.append(f"{_name(number, trial_job(swept, drawn))}: it has not begun")
    return list(trained.values()), left_out


def _name(number: int, planned: TrainJob) -> str:
    return f"trial {number:04d}, without {' '.join(planned.without) or 'nothing'}, seed {planned.cascade.seed}"


def _why_not(sweep: Path, trial: Trial, recipe: CascadeConfig) -> str | None:
    """Why a trial's networks cannot be measured; None if they can."""
    if trial.outcome is None:
        return "it has not ended"
    if trial.outcome.ending != "finished":
        return f"it {trial.outcome.ending}" + (f": {trial.outcome.reason}" if trial.outcome.reason else "")
    run = trial_folder(sweep, trial.number)
    if read_job(run).cascade != recipe:
        return "it trained another recipe than these names stand for now"
    if not (run / read_cascade_result(run).checkpoint / "FORMAT").is_file():
        return "its checkpoint is gone"
    return None


def _check_dataset(path: Path, dataset: KeyedDataset) -> None:
    """The test split of another dataset may have been trained on."""
    if codec.loads(RunRecord, path.read_text(), str(path)).manifest_sha256 != dataset.manifest_sha256:
        raise ValueError(f"{path}: this trial was trained on another dataset than {dataset.path}")


def _measure(row: AblationRow, trial: _Trained, annotations: Path, dataset: KeyedDataset, *, title: str) -> MeasuredRow:
    return measure_row(
        row,
        _networks(trial.checkpoint),
        trial.cascade,
        dataset=dataset,
        annotations=annotations,
        source=str(trial.checkpoint),
        title=title,
    )


def _networks(checkpoint: Path) -> Networks:
    """As trained: left is what the networks call left, as in ``mas-ray tables``."""
    found = load_checkpoint(checkpoint)
    detector = create_detector(found.job.cascade.detector, found.skeleton)
    detector.load_state_dict(found.detector)
    shape_prior = create_shape_prior(found.job.cascade.shape_prior)
    shape_prior.load_state_dict(found.shape_prior)
    return Networks(detector=detector, shape_prior=shape_prior)
