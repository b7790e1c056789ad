from __future__ import annotations

import dataclasses
import re

from made_up_evaluation import made_up_evaluation

from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.published import PAPER
from mas_ray.evaluation.record import SupervisedErrors
from mas_ray.reporting.ablations import ABLATIONS, COMPONENTS, rehearsal, tables_as_markdown
from mas_ray.reporting.beside_published import marked
from mas_ray.reporting.measured_row import MeasuredRow
from mas_ray.reporting.results import RESULTS

PAPER_NAMES = {row.name for row in PAPER}


def _measured() -> dict[str, MeasuredRow]:
    supervised = SupervisedErrors(
        regressor="linear",
        triangulated=None,
        percent_of_crop=9.87,
        groups=(),
        alpha_triangulated=1e-3,
        alpha_keypoints=1e-3,
        num_training_poses=100,
        num_training_views=400,
    )
    network = dataclasses.replace(supervised, regressor="two_hidden_layers", percent_of_crop=8.76)
    return {
        row.name: MeasuredRow(
            name=row.name,
            reconstruction=1.0,
            evaluation=made_up_evaluation(percent=3.0 if row.name == "whole" else 5.25),
            supervised=(supervised, network) if row.supervised_postprocess else (),
        )
        for row in (*ABLATIONS, *(result.recipe for result in RESULTS))
    }


def _text(measured: dict[str, MeasuredRow], *, seed: int = 0) -> str:
    source = made_up_evaluation().source
    return tables_as_markdown(measured, rehearsal(source, steps_share=0.3, num_steps=1350, seed=seed, commit="abc123"))


def test_names_stand_for_recipes():
    recipes = {}
    for row in ABLATIONS:
        recipe = (row.recipe(cpu_cascade()), row.supervised_postprocess)
        assert recipes.setdefault(row.name, recipe) == recipe
    assert len(set(recipes.values())) == len(recipes) == 25
    assert all(re.fullmatch(r"[a-z_+]+", name) for name in recipes)
    assert recipes["whole"] == (cpu_cascade(), False)


def test_every_table_is_there_with_its_rows():
    text = _text(_measured(), seed=7)
    assert re.findall("^#+ .*", text, re.MULTILINE) == [
        "# Tables",
        "## Table 1",
        "## Table 2",
        "## Table 3",
        "## Table 4",
        "## Table 5",
        "## Fig. 4",
        "## One component at a time",
        "## All figures",
    ]
    assert "trained for 30% of its steps (the whole recipe: 1,350 of" in text
    assert "from random weights with seed 7" in text
    assert "Commit abc123." in text
    assert "without Ray" in text
    assert all(f"\n| {marked(row)} |" in text for row in ABLATIONS)
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert [len(table) - 2 for table in tables] == [4, 2, 3, 5, 4, 3, len(COMPONENTS), 3 * 26]
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)


def test_the_row_with_labels_shows_what_they_give():
    text = _text(_measured())
    assert "fitted to labels" in text
    assert "| wo structure prior + SPP \\* | 9.87 | 9.32 |" in text
    assert "| wo structure prior \\* | 5.25 | 20.06 |" in text
    assert "What does not hold: wo structure prior + SPP better than wo structure prior;" in text
    assert "wo structure prior + SPP): also without the teacher's arm search" in text


def test_changes_are_against_the_whole_recipe():
    text = _text(_measured())
    (line,) = [line for line in text.splitlines() if line.startswith("| without ψ |")]
    assert line.startswith("| without ψ | 5.25 (+2.25) | 5.25 (+2.25) | 6.00 (+0.00) |")
    assert "| whole recipe | 3.00 | 3.00 |" in text


def _fig_4(**reconstruction: float) -> str:
    measured = _measured()
    for name, value in reconstruction.items():
        measured[name] = dataclasses.replace(measured[name], reconstruction=value)
    return _text(measured).partition("## Fig. 4")[2].partition("## One")[0]


def test_whether_the_cascade_pays_is_said_of_rows_that_differ_in_nothing_else():
    assert "without the teacher in either row, this does not hold here" in _fig_4()
    assert "without the teacher in either row, this holds here" in _fig_4(without_teacher=0.9)


def test_what_the_teacher_brings_is_not_put_down_to_the_cascade():
    text = _fig_4(whole=0.5)
    assert "without the teacher in either row, this does not hold here" in text
    assert "against one stage it holds, which by the caveat below is no proof either way" in text
    assert "also without the teacher with its fresh detector" in text


def test_results_stand_under_their_names():
    text = _text(_measured())
    assert "| Ours †† (SPP, linear) | 9.87 | 2.52 | - | 65.50 | - | 66.10 | - | - |" in text
    assert "| Ours †† (SPP, two hidden layers) | 8.76 | - |" in text
    assert "| Ours | - | 60.20 | - | 24.70 | - | 19.36 |" in text  # this evaluation has nothing by that protocol


def test_what_was_not_run_is_blank():
    measured = _measured()
    for name in ("with_mixed_view_finetune", *(row.name for row in COMPONENTS if row.name not in PAPER_NAMES)):
        del measured[name]
    text = _text(measured)
    assert "| Mixed-view ft | - | 94.82 | - | 63.40 | - | 28.10 |" in text
    assert "One component at a time" not in text
    assert "## All figures" in text
