from __future__ import annotations

import dataclasses
import re

from made_up_evaluation import made_up_evaluation

from mas_ray.config.cascade import cpu_cascade
from mas_ray.evaluation.record import SupervisedErrors
from mas_ray.reporting.ablations import ABLATIONS, COMPONENTS, MeasuredRow, ablations_as_markdown
from mas_ray.reporting.beside_published import marked


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
    return {
        row.name: MeasuredRow(
            name=row.name,
            reconstruction=1.0,
            evaluation=made_up_evaluation(percent=3.0 if row.name == "whole" else 5.25),
            supervised=supervised if row.supervised_postprocess else None,
        )
        for row in ABLATIONS
    }


def test_names_stand_for_recipes():
    recipes = {}
    for row in ABLATIONS:
        recipe = (row.recipe(cpu_cascade()), row.supervised_postprocess)
        assert recipes.setdefault(row.name, recipe) == recipe
    assert len(set(recipes.values())) == len(recipes) == 25
    assert all(re.fullmatch(r"[a-z_+]+", name) for name in recipes)
    assert recipes["whole"] == (cpu_cascade(), False)


def test_every_table_is_there_with_its_rows():
    text = ablations_as_markdown(_measured(), steps_share=0.3, seed=7)
    assert re.findall("^#+ .*", text, re.MULTILINE) == [
        "# Ablations",
        "## Table 4",
        "## Table 5",
        "## Fig. 4",
        "## One component at a time",
        "## All figures",
    ]
    assert "trained for 30% of its steps from random weights with seed 7" in text
    assert "without Ray" in text
    assert all(f"\n| {marked(row)} |" in text for row in ABLATIONS)
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert [len(table) - 2 for table in tables] == [5, 4, 3, len(COMPONENTS), 3 * 24]
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)


def test_the_row_with_labels_shows_what_they_give():
    text = ablations_as_markdown(_measured(), steps_share=0.3, seed=0)
    assert "fitted to labels" in text
    assert "| wo structure prior + SPP \\* | 9.87 | 9.32 |" in text
    assert "| wo structure prior \\* | 5.25 | 20.06 |" in text
    assert "What does not hold: wo structure prior + SPP better than wo structure prior;" in text
    assert "wo structure prior + SPP): also without the teacher's arm search" in text


def test_changes_are_against_the_whole_recipe():
    text = ablations_as_markdown(_measured(), steps_share=0.3, seed=0)
    (line,) = [line for line in text.splitlines() if line.startswith("| without ψ |")]
    assert line.startswith("| without ψ | 5.25 (+2.25) | 5.25 (+2.25) | 6.00 (+0.00) |")
    assert "| whole recipe | 3.00 | 3.00 |" in text


def _fig_4(**reconstruction: float) -> str:
    measured = _measured()
    for name, value in reconstruction.items():
        measured[name] = dataclasses.replace(measured[name], reconstruction=value)
    return ablations_as_markdown(measured, steps_share=0.3, seed=0).partition("## Fig. 4")[2].partition("## One")[0]


def test_whether_the_cascade_pays_is_said_of_rows_that_differ_in_nothing_else():
    assert "without the teacher in either row, this does not hold here" in _fig_4()
    assert "without the teacher in either row, this holds here" in _fig_4(without_teacher=0.9)


def test_what_the_teacher_brings_is_not_put_down_to_the_cascade():
    text = _fig_4(whole=0.5)
    assert "without the teacher in either row, this does not hold here" in text
    assert "against one stage it holds, which by the caveat below is no proof either way" in text
    assert "also without the teacher with its fresh detector" in text
