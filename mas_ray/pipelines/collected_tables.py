"""Evaluations that are there, beside the published tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mas_ray.config.jobs import CollectedTablesJob
from mas_ray.config.published import PAPER
from mas_ray.evaluation.comparability import check_comparable
from mas_ray.evaluation.mpii import MpiiEvaluation, read_mpii_evaluation
from mas_ray.evaluation.record import read_evaluation
from mas_ray.pipelines.evaluate import evaluation_file
from mas_ray.reporting.ablations import COMPONENTS, tables_as_markdown
from mas_ray.reporting.measured_row import MeasuredRow
from mas_ray.reporting.results import RESULTS
from mas_ray.shards.write import write_text

_3DHP = "mpi_inf_3dhp"
_SPP = "+spp"


def collected_tables(job: CollectedTablesJob) -> str:
    """The tables in Markdown, written to ``tables.md`` too.

    A row with SPP is taken from its recipe's evaluation, if that was made with ``--supervised-postprocess``.

    Raises:
        ValueError: There is no such evaluation or row, a row is named twice for one corpus, or evaluations of one
            corpus do not compare; the message names it.
    """
    known = {row.name for row in (*PAPER, *COMPONENTS, *(result.recipe for result in RESULTS))}
    measured: dict[str, MeasuredRow] = {}
    of_3dhp: dict[str, MeasuredRow] = {}
    of_mpii: dict[str, MpiiEvaluation] = {}
    for each in job.evaluations:
        if each.row not in known or each.row.endswith(_SPP):
            names = ", ".join(sorted(name for name in known if not name.endswith(_SPP)))
            raise ValueError(f"{each.row}: no row of the tables; expected one of {names}")
        if (mpii := Path(each.evaluation) / "mpii.json").is_file():
            if each.row in of_mpii:
                raise ValueError(f"{each.evaluation}: {each.row} is named twice for MPII")
            of_mpii[each.row] = read_mpii_evaluation(mpii)
            continue
        evaluation = read_evaluation(evaluation_file(each.evaluation))
        rows = of_3dhp if evaluation.source.corpus == _3DHP else measured
        if each.row in rows:
            raise ValueError(f"{each.evaluation}: {each.row} is named twice for the corpus {evaluation.source.corpus}")
        for other in rows.values():
            check_comparable(evaluation, other.evaluation, each.evaluation)
        rows[each.row] = MeasuredRow(name=each.row, reconstruction=None, evaluation=evaluation, supervised=())
        if evaluation.supervised and f"{each.row}{_SPP}" in known:
            rows[f"{each.row}{_SPP}"] = MeasuredRow(
                name=f"{each.row}{_SPP}", reconstruction=None, evaluation=evaluation, supervised=evaluation.supervised
            )
    pckh_percent = {row: evaluation.under("raw").pckh_percent for row, evaluation in of_mpii.items()}
    text = tables_as_markdown(measured, _intro(of_mpii, measured, of_3dhp), of_3dhp=of_3dhp, pckh_percent=pckh_percent)
    write_text(Path(job.output) / "tables.md", text)
    return text


def _intro(of_mpii: Mapping[str, MpiiEvaluation], *measured: Mapping[str, MeasuredRow]) -> str:
    lines = ["Collected from evaluations. A dash: not run, or not published."]
    lines += [
        f"- `{row}`: {evaluation.checkpoint}, {evaluation.num_people} people of MPII's validation set."
        for row, evaluation in of_mpii.items()
    ]
    for rows in measured:
        for row in rows.values():
            source = row.evaluation.source
            lines.append(
                f"- `{row.name}`: {source.checkpoint}, {source.num_frame_sets} frame sets of the {source.split} split "
                f"of {source.corpus} against: {source.reference}."
            )
    return "\n".join([lines[0], "", *lines[1:]])
