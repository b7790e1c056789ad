"""tables: the ablations, trained briefly one after the other in this process, without Ray, and measured.

Reference joints are read after training, by ``row_measurement``; ``ablation_training`` cannot.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import mas_ray
from mas_ray.config import codec
from mas_ray.config.ablations import brief
from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.config.jobs import TablesJob
from mas_ray.config.published import MIXED_VIEW_FINETUNE, PAPER, AblationRow
from mas_ray.evaluation.record import FORMAT as EVALUATION
from mas_ray.pipelines.ablation_training import KeyedDataset, open_dataset, train_recipe
from mas_ray.pipelines.row_measurement import SPLIT, measure_row, recorded, reference_digests
from mas_ray.reporting.ablations import COMPONENTS, rehearsal, tables_as_markdown
from mas_ray.reporting.measured_row import MeasuredRow
from mas_ray.reporting.results import RESULTS
from mas_ray.shards.location import location
from mas_ray.shards.write import write_text
from mas_ray.tracking.origin import git_commit

FORMAT = "mas-ray tables 2"


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
    dataset = open_dataset(location(job.manifest))
    whole = brief(replace(cpu_cascade(), seed=job.seed), job.steps_share)
    dataset.open(SPLIT, whole)  # what is amiss is said now, not after the first training
    reference = reference_digests(Path(job.annotations))
    single_view = None if job.single_view_manifest is None else open_dataset(location(job.single_view_manifest))
    rows = {row.name: row for row in _rows(job)}
    measured: dict[str, MeasuredRow] = {}
    for number, (name, row) in enumerate(rows.items(), start=1):
        title, cascade = f"{number}/{len(rows)} {name}", row.recipe(whole)
        measured[name] = recorded(
            folder / "rows" / f"{name}-{dataset.key(cascade, reference, *_digest(single_view), EVALUATION)}.json",
            title,
            functools.partial(_train_and_measure, row, cascade, job, dataset, title=title, single_view=single_view),
        )
    intro = rehearsal(
        next(iter(measured.values())).evaluation.source,
        steps_share=job.steps_share,
        num_steps=sum(stage.num_epochs * (whole.steps_per_epoch or 0) for stage in whole.stages),
        seed=job.seed,
        commit=git_commit(Path(mas_ray.__file__).parent) or "unknown",
    )
    text = tables_as_markdown(measured, intro)
    record = Tables(format=FORMAT, job=job, rows=tuple(measured.values()))
    write_text(folder / "tables.json", codec.dumps(record))
    write_text(folder / "tables.md", text)
    return text


def _rows(job: TablesJob) -> list[AblationRow]:
    """Those that can be trained, the paper's first."""
    rows = [*(row.recipe for row in RESULTS), *PAPER, *(COMPONENTS if job.components else ())]
    return [row for row in rows if job.single_view_manifest is not None or row != MIXED_VIEW_FINETUNE]


def _digest(single_view: KeyedDataset | None) -> tuple[str, ...]:
    return () if single_view is None else (single_view.manifest_sha256,)


def _train_and_measure(
    row: AblationRow,
    cascade: CascadeConfig,
    job: TablesJob,
    dataset: KeyedDataset,
    *,
    title: str,
    single_view: KeyedDataset | None,
) -> MeasuredRow:
    state = train_recipe(cascade, dataset, stages=Path(job.output) / "stages", title=title, single_view=single_view)
    return measure_row(
        row,
        state.kept,
        cascade,
        dataset=dataset,
        annotations=Path(job.annotations),
        source=f"{row.name} (in memory)",
        title=title,
    )
