"""Tables of evaluations that are there: blank where nothing was run, and nothing beside what does not compare."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from made_up_evaluation import made_up_evaluation

from mas_ray.config.jobs import CollectedTablesJob, RowEvaluation
from mas_ray.evaluation.mpii import FORMAT, MpiiEvaluation, PckhFigures, write_mpii
from mas_ray.evaluation.record import PaperErrors, PaperHandling, PaperProtocol, SupervisedErrors, write_evaluation
from mas_ray.pipelines.collected_tables import collected_tables


def _errors(handling: PaperHandling, mpjpe_mm: float) -> PaperErrors:
    return PaperErrors(
        handling=handling,
        percent_of_two_metres=3.5,
        mpjpe_mm=mpjpe_mm,
        n_mpjpe_mm=97.0,
        p_mpjpe_mm=91.0,
        pck_150_percent=61.0,
        auc_150_percent=25.5,
        num_poses=8,
    )


def _write(
    folder: Path, *, corpus: str = "human36m", mpjpe_mm: float = 101.0, with_labels: bool = False, **changes: object
) -> str:
    found = made_up_evaluation(mpjpe_mm=mpjpe_mm)
    linear = SupervisedErrors(
        regressor="linear",
        triangulated=None,
        percent_of_crop=2.75,
        groups=(),
        alpha_triangulated=1e-3,
        alpha_keypoints=1e-3,
        num_training_poses=10,
        num_training_views=40,
    )
    found = dataclasses.replace(
        found,
        source=dataclasses.replace(found.source, corpus=corpus, **changes),
        paper=PaperProtocol(
            protocol="as released",
            lenient=(),
            ambiguity_ratio=0.1,
            errors=(_errors("raw", mpjpe_mm), _errors("oracle_pairs", mpjpe_mm - 10)),
        ),
        supervised=(linear, dataclasses.replace(linear, regressor="two_hidden_layers")) if with_labels else (),
    )
    write_evaluation(folder / "evaluation.json", found)
    return str(folder)


def _job(tmp_path: Path, **evaluations: str) -> CollectedTablesJob:
    rows = tuple(RowEvaluation(row=row, evaluation=evaluation) for row, evaluation in evaluations.items())
    return CollectedTablesJob(evaluations=rows, output=str(tmp_path / "tables"))


def test_each_evaluation_stands_in_its_row_and_the_rest_is_blank(tmp_path):
    whole = _write(tmp_path / "whole", with_labels=True)
    job = _job(tmp_path, whole=whole, without_geodesic=_write(tmp_path / "wo-g", mpjpe_mm=111.0))
    text = collected_tables(job)
    assert "| Ours | 3.50 | 3.63 | 101.00 | 95.90 |" in text
    assert "| Ours † (left and right ignored) | 3.50 | 3.17 | 91.00 | 85.60 |" in text
    assert "| Ours †† (SPP, linear) | 2.75 | 2.52 |" in text
    assert "| Baseline | 101.00 | 101.63 | - | 60.10 | - | 26.70 |" in text
    assert "| Mixed-view ft | - | 94.82 |" in text
    assert "| wo G | 111.0 | 102.6 |" in text
    assert "| wo ψ, G | - | 127.4 |" in text
    assert "One component at a time" not in text
    assert "`without_geodesic`: runs/it, 8 frame sets of the test split of human36m against: made up." in text
    assert "PCK" in text.partition("## Table 2")[2]
    assert "| Ours | - | 60.20 |" in text.partition("## Table 2")[2]
    assert (tmp_path / "tables" / "tables.md").read_text() == text


def test_mpi_inf_3dhp_has_a_table_of_its_own(tmp_path):
    rows = (
        RowEvaluation(row="whole", evaluation=_write(tmp_path / "a")),
        RowEvaluation(
            row="whole", evaluation=_write(tmp_path / "b", corpus="mpi_inf_3dhp", split="train", mpjpe_mm=190.0)
        ),
    )
    text = collected_tables(CollectedTablesJob(evaluations=rows, output=str(tmp_path)))
    assert "| Ours | 3.50 | 3.63 | 101.00 | 95.90 |" in text
    assert "| Ours | 61.00 | 60.20 | 25.50 | 24.70 | 19.00 | 19.36 |" in text


def test_figures_that_do_not_compare_never_stand_in_one_table(tmp_path):
    job = _job(tmp_path, whole=_write(tmp_path / "a"), without_geodesic=_write(tmp_path / "b", num_frame_sets=9))
    with pytest.raises(ValueError, match=r"b: num_frame_sets: figures do not compare"):
        collected_tables(job)
    assert not (tmp_path / "tables").exists()


def test_a_row_of_no_table_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"^without_gravity: no row of the tables; expected one of .*whole"):
        collected_tables(_job(tmp_path, without_gravity=_write(tmp_path / "a")))
    rows = (RowEvaluation(row="whole", evaluation=_write(tmp_path / "a")),) * 2
    with pytest.raises(ValueError, match="whole is named twice"):
        collected_tables(CollectedTablesJob(evaluations=rows, output=str(tmp_path)))


def test_mpii_and_3dhp_have_their_columns_of_table_3(tmp_path):
    figures = PckhFigures(
        handling="raw",
        exchanged_fraction=0.0,
        pckh_percent=31.25,
        pckh_of_found_percent=40.0,
        pckh_all_joints_percent=33.0,
        joints=(),
    )
    record = MpiiEvaluation(
        format=FORMAT,
        protocol="heads",
        checkpoint="mine",
        masks="SelfieMasks",
        num_people=7,
        not_found=(),
        figures=(figures,),
    )
    write_mpii(tmp_path / "mpii" / "mpii.json", record)
    job = CollectedTablesJob(
        evaluations=(
            RowEvaluation(row="whole", evaluation=_write(tmp_path / "human36m")),
            RowEvaluation(row="whole", evaluation=_write(tmp_path / "3dhp", corpus="mpi_inf_3dhp")),
            RowEvaluation(row="whole", evaluation=str(tmp_path / "mpii")),
        ),
        output=str(tmp_path / "tables"),
    )
    text = collected_tables(job)
    table = text.partition("## Table 3")[2].partition("## Table 4")[0]
    assert "| Baseline | 101.00 | 101.63 | 61.00 | 60.10 | 31.25 | 26.70 |" in table
    assert "| Mixed-view ft | - | 94.82 | - | 63.40 | - | 28.10 |" in table
    assert "- `whole`: mine, 7 people of MPII's validation set." in text
    with pytest.raises(ValueError, match="whole is named twice for MPII"):
        collected_tables(dataclasses.replace(job, evaluations=(*job.evaluations, job.evaluations[-1])))
