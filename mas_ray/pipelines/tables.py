"""tables: the ablations, trained briefly one after the other in this process, without Ray, and measured.

Reference joints are read after training, by ``row_measurement``; ``ablation_training`` cannot.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path

from mas_ray.config import codec
from mas_ray.config.ablations import brief
from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.config.jobs import TablesJob
from mas_ray.config.published import AblationRow
from mas_ray.pipelines.ablation_training import KeyedDataset, open_dataset, train_recipe
from mas_ray.pipelines.row_measurement import SPLIT, measure_row, recorded, reference_digests
from mas_ray.reporting.ablations import ABLATIONS, MeasuredRow, ablations_as_markdown
from mas_ray.shards.location import location
from mas_ray.shards.write import write_text

FORMAT = "mas-ray tables 1"


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
    rows = {row.name: row for row in ABLATIONS}
    measured: dict[str, MeasuredRow] = {}
    for number, (name, row) in enumerate(rows.items(), start=1):
        title, cascade = f"{number}/{len(rows)} {name}", row.recipe(whole)
        measured[name] = recorded(
            folder / "rows" / f"{name}-{dataset.key(cascade, reference)}.json",
            title,
            functools.partial(_train_and_measure, row, cascade, job, dataset, title=title),
        )
    text = ablations_as_markdown(measured, steps_share=job.steps_share, seed=job.seed)
    record = Tables(format=FORMAT, job=job, rows=tuple(measured.values()))
    write_text(folder / "tables.json", codec.dumps(record))
    write_text(folder / "tables.md", text)
    return text


def _train_and_measure(
    row: AblationRow, cascade: CascadeConfig, job: TablesJob, dataset: KeyedDataset, *, title: str
) -> MeasuredRow:
    state = train_recipe(cascade, dataset, stages=Path(job.output) / "stages", title=title)
    return measure_row(
        row,
        state.kept,
        cascade,
        dataset=dataset,
        annotations=Path(job.annotations),
        source=f"{row.name} (in memory)",
        title=title,
    )
