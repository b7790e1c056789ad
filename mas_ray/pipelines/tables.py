"""tables: the ablations, trained briefly one after the other in this process, without Ray."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mas_ray.config import codec
from mas_ray.config.ablations import brief
from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.config.jobs import TablesJob
from mas_ray.evaluation.protocol import evaluate_comparison
from mas_ray.evaluation.published import AblationRow
from mas_ray.evaluation.supervised_postprocess import SupervisedErrors, supervised_errors
from mas_ray.inference import PoseEstimator
from mas_ray.pipelines.evaluate import SplitComparison, compare_with_reference
from mas_ray.pipelines.progress import note, progress
from mas_ray.reporting.ablations import ABLATIONS, MeasuredRow, ablations_as_markdown
from mas_ray.shards.manifest import Manifest, SplitName, file_sha256, read_manifest
from mas_ray.shards.write import partial_path, publish, write_text
from mas_ray.skeleton import H36M_18
from mas_ray.training.cascade import CascadeStep, estimator_of, run_cascade_stage
from mas_ray.training.data import FrameSets, open_split
from mas_ray.training.loop import validation_reconstruction
from mas_ray.training.objective import StageObjective
from mas_ray.training.order import num_steps
from mas_ray.training.state import TrainState, create_state

FORMAT = "mas-ray tables 1"
_SPLIT: SplitName = "test"
_BATCH_SIZE = 8
_KEY_LENGTH = 12


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The record of all rows; ``tables.json`` is its JSON form."""

    format: str
    job: TablesJob
    rows: tuple[MeasuredRow, ...]


def tables(job: TablesJob) -> str:
    """Train and measure what is not finished yet; the tables in Markdown.

    The output folder holds ``rows/``, a record per finished recipe, ``stages/``, the networks after each stage, and
    finally ``tables.md`` and ``tables.json``. Rows and networks are named by dataset and recipe: those of others are
    never reused, those of other code are (delete the folder). Recipes whose first stages are equal share them.

    Raises:
        ValueError: The dataset or the annotations are not as they need to be; the message names the file.
    """
    workplace = _Workplace(
        job=job, manifest=read_manifest(Path(job.manifest)), manifest_sha256=file_sha256(Path(job.manifest))
    )
    whole = brief(replace(cpu_cascade(), seed=job.seed), job.steps_share)
    workplace.open(_SPLIT, whole)  # what is amiss is said now, not after the first training
    if not Path(job.annotations).is_dir():
        raise ValueError(f"{job.annotations}: no such folder of reference joints")
    folder = Path(job.output)
    for name in ("rows", "stages"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = {row.name: row for row in ABLATIONS}
    measured = {
        name: _measured(row, row.recipe(whole), workplace, title=f"{number}/{len(rows)} {name}")
        for number, (name, row) in enumerate(rows.items(), start=1)
    }
    text = ablations_as_markdown(measured, steps_share=job.steps_share, seed=job.seed)
    record = Tables(format=FORMAT, job=job, rows=tuple(measured.values()))
    write_text(folder / "tables.json", codec.dumps(record))
    write_text(folder / "tables.md", text)
    return text


@dataclass(frozen=True, kw_only=True)
class _Workplace:
    """What all rows share."""

    job: TablesJob
    manifest: Manifest
    manifest_sha256: str

    def open(self, split: SplitName, cascade: CascadeConfig) -> FrameSets:
        """A split as a recipe sees it."""
        return open_split(Path(self.job.manifest).parent, self.manifest, split, cascade)

    def file(self, folder: str, name: str, cascade: CascadeConfig) -> Path:
        """Where what was made of a recipe lies; another recipe, or another dataset, has another place."""
        key = hashlib.sha256((self.manifest_sha256 + codec.dumps(cascade)).encode()).hexdigest()[:_KEY_LENGTH]
        return Path(self.job.output) / folder / f"{name}-{key}"


def _measured(row: AblationRow, cascade: CascadeConfig, workplace: _Workplace, *, title: str) -> MeasuredRow:
    path = workplace.file("rows", row.name, cascade).with_suffix(".json")
    if path.is_file():
        note(f"{title}: finished before")
        return codec.loads(MeasuredRow, path.read_text(), str(path))
    if row.supervised_postprocess:
        note(f"{title}: a linear map is fitted to the labels of the training split")
    state = _trained(cascade, len(cascade.stages), workplace, title=title)
    reconstruction = _reconstruction(state, cascade, workplace)
    estimator = estimator_of(state, cascade, len(cascade.stages) - 1, H36M_18)
    found = _compared(estimator, row.name, workplace, _SPLIT)
    measured = MeasuredRow(
        name=row.name,
        reconstruction=reconstruction,
        evaluation=evaluate_comparison(found.comparison, H36M_18, source=found.source),
        supervised=_supervised(estimator, found, workplace) if row.supervised_postprocess else None,
    )
    write_text(path, codec.dumps(measured))
    return measured


def _trained(cascade: CascadeConfig, num_stages: int, workplace: _Workplace, *, title: str) -> TrainState:
    """The recipe's networks after its first stages."""
    stage = cascade.stages[num_stages - 1]
    begun = replace(cascade, stages=cascade.stages[:num_stages])
    path = workplace.file("stages", stage.name, begun).with_suffix(".pt")
    if path.is_file():
        return _load(path, cascade)
    before = _trained(cascade, num_stages - 1, workplace, title=title) if num_stages > 1 else None
    train = workplace.open("train", cascade)
    if stage.teacher is not None:
        note(f"{title}, {stage.name}: the stage before labels the training split")
    total = stage.num_epochs * num_steps(len(train), cascade.batch_size, cascade.steps_per_epoch)
    step: CascadeStep | None = None
    with progress(f"{title}, {stage.name}", total, "steps") as advance:
        for step in run_cascade_stage(cascade, num_stages - 1, train, before=before, skeleton=H36M_18):
            advance(1, loss=step.metrics.losses["total"])
    assert step is not None  # every stage has at least one epoch
    _save(path, step.state)
    return step.state


def _save(path: Path, state: TrainState) -> None:
    partial = partial_path(path)
    torch.save({"detector": state.detector.state_dict(), "shape_prior": state.shape_prior.state_dict()}, partial)
    publish(partial, path)


def _load(path: Path, cascade: CascadeConfig) -> TrainState:
    state = create_state(cascade, H36M_18, torch.device("cpu"))
    networks = torch.load(path, map_location="cpu", weights_only=True)
    state.detector.load_state_dict(networks["detector"])
    state.shape_prior.load_state_dict(networks["shape_prior"])
    return state


def _reconstruction(state: TrainState, cascade: CascadeConfig, workplace: _Workplace) -> float:
    objective = StageObjective(
        state.detector, state.shape_prior, stage=cascade.stages[-1], cascade=cascade, skeleton=H36M_18
    )
    return validation_reconstruction(objective, workplace.open(_SPLIT, cascade), batch_size=_BATCH_SIZE)


def _compared(estimator: PoseEstimator, name: str, workplace: _Workplace, split: SplitName) -> SplitComparison:
    return compare_with_reference(
        estimator,
        name=f"{name} (in memory)",
        manifest=Path(workplace.job.manifest),
        annotations=Path(workplace.job.annotations),
        split=split,
    )


def _supervised(estimator: PoseEstimator, test: SplitComparison, workplace: _Workplace) -> SupervisedErrors:
    """SPP, fitted to the reference joints of the training split."""
    train = _compared(estimator, "SPP", workplace, "train")
    return supervised_errors(train.comparison, test.comparison, H36M_18, train_subjects=train.subjects)
