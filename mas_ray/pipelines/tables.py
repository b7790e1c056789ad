"""tables: the ablations, trained briefly one after the other in this process, without Ray, and measured.

Reference joints are read here, after training; ``ablation_training`` cannot.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mas_ray.config import codec
from mas_ray.config.ablations import brief
from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.config.jobs import TablesJob
from mas_ray.config.published import AblationRow
from mas_ray.evaluation.protocol import evaluate_comparison
from mas_ray.evaluation.supervised_postprocess import SupervisedErrors, supervised_errors
from mas_ray.inference import PoseEstimator
from mas_ray.pipelines.ablation_training import StageStore, open_store, reconstruction, train_recipe
from mas_ray.pipelines.evaluate import SplitComparison, compare_with_reference
from mas_ray.pipelines.progress import note
from mas_ray.reporting.ablations import ABLATIONS, MeasuredRow, ablations_as_markdown
from mas_ray.shards.location import location
from mas_ray.shards.manifest import SplitName, file_sha256
from mas_ray.shards.write import write_text
from mas_ray.skeleton import H36M_18
from mas_ray.training.cascade import estimator_of

FORMAT = "mas-ray tables 1"
_SPLIT: SplitName = "test"


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The record of all rows; ``tables.json`` is its JSON form."""

    format: str
    job: TablesJob
    rows: tuple[MeasuredRow, ...]


def tables(job: TablesJob) -> str:
    """Train and measure what is not finished yet; the tables in Markdown.

    The output folder holds ``rows/``, a record per finished recipe, ``stages/``, the networks after each stage, and
    finally ``tables.md`` and ``tables.json``. Networks are named by dataset and recipe, rows by the reference joints
    too: those of others are never reused, those of other code are (delete the folder). Recipes whose first stages are
    equal share them.

    Raises:
        ValueError: The dataset or the annotations are not as they need to be; the message names the file.
    """
    folder = Path(job.output)
    store = open_store(location(job.manifest), folder / "stages")
    whole = brief(replace(cpu_cascade(), seed=job.seed), job.steps_share)
    store.open(_SPLIT, whole)  # what is amiss is said now, not after the first training
    reference = _reference_digests(Path(job.annotations))
    rows = {row.name: row for row in ABLATIONS}
    measured: dict[str, MeasuredRow] = {}
    for number, (name, row) in enumerate(rows.items(), start=1):
        title, cascade = f"{number}/{len(rows)} {name}", row.recipe(whole)
        path = folder / "rows" / f"{name}-{store.key(cascade, reference)}.json"
        if path.is_file():
            note(f"{title}: finished before")
            measured[name] = codec.loads(MeasuredRow, path.read_text(), str(path))
            continue
        measured[name] = _measure(row, cascade, job, store, title=title)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, codec.dumps(measured[name]))
    text = ablations_as_markdown(measured, steps_share=job.steps_share, seed=job.seed)
    record = Tables(format=FORMAT, job=job, rows=tuple(measured.values()))
    write_text(folder / "tables.json", codec.dumps(record))
    write_text(folder / "tables.md", text)
    return text


def _reference_digests(folder: Path) -> str:
    """Of all reference joints in a folder: each file's name and digest."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder of reference joints")
    return "".join(f"{path.name} {file_sha256(path)}\n" for path in sorted(folder.glob("*.parquet")))


def _measure(row: AblationRow, cascade: CascadeConfig, job: TablesJob, store: StageStore, *, title: str) -> MeasuredRow:
    state = train_recipe(cascade, store, title=title)
    estimator = estimator_of(state, cascade, len(cascade.stages) - 1, H36M_18)
    found = _compare(estimator, row.name, job, _SPLIT)
    supervised: SupervisedErrors | None = None
    if row.supervised_postprocess:
        note(f"{title}: a linear map is fitted to the labels of the training split")
        train = _compare(estimator, row.name, job, "train")
        supervised = supervised_errors(train.comparison, found.comparison, H36M_18, train_subjects=train.subjects)
    return MeasuredRow(
        name=row.name,
        reconstruction=reconstruction(state, cascade, store, split=_SPLIT),
        evaluation=evaluate_comparison(found.comparison, H36M_18, source=found.source, takes=found.takes),
        supervised=supervised,
    )


def _compare(estimator: PoseEstimator, name: str, job: TablesJob, split: SplitName) -> SplitComparison:
    return compare_with_reference(
        estimator,
        name=f"{name} (in memory)",
        manifest=location(job.manifest),
        annotations=Path(job.annotations),
        split=split,
    )
