from __future__ import annotations

import pytest

from mas_ray.config.ablations import ablated, with_background, without_depth, without_teacher
from mas_ray.config.cascade import cpu_cascade, paper_cascade
from mas_ray.config.published import FIG_4, PAPER, TABLE_4, TABLE_5, AblationRow, Figures
from mas_ray.config.stage import TeacherConfig


@pytest.mark.parametrize("cascade", [paper_cascade(), cpu_cascade()])
def test_every_published_row_is_another_recipe_and_the_last_is_the_whole(cascade):
    for rows in (TABLE_4, TABLE_5):
        published = [row for row in rows if row.published != Figures()]
        trained = [(row.recipe(cascade), row.supervised_postprocess) for row in published]
        assert all(trained[i] != trained[j] for i in range(len(trained)) for j in range(i))
        assert trained[-1] == (cascade, False)
    bare = TABLE_4[0].recipe(cascade).stages
    assert not any(s.geodesic_weighting or s.loss_weights.physique_mask or s.loss_weights.depth for s in bare)
    assert {s.bone_set for s in TABLE_5[2].recipe(cascade).stages} == {"points"}


def test_rows_that_lose_more_than_their_names_say_are_those_whose_teacher_does_less():
    of_the_paper = [*TABLE_4[:1], *TABLE_4[2:], *TABLE_5, *FIG_4]
    for row in of_the_paper:
        teachers = [stage.teacher for stage in row.recipe(cpu_cascade()).stages]
        assert bool(row.also_without) == (TeacherConfig() not in teachers)


def test_rows_of_ours_tell_what_is_the_teachers():
    cascade = cpu_cascade()
    one_stage, untaught, _ = FIG_4
    assert one_stage.also_without == untaught.also_without
    assert untaught.recipe(cascade) == without_teacher(cascade)
    assert TABLE_4[1].recipe(cascade) == without_teacher(TABLE_4[2].recipe(cascade))


@pytest.mark.parametrize("row", PAPER, ids=lambda row: row.name)
@pytest.mark.parametrize("cascade", [paper_cascade(), cpu_cascade()])
def test_a_job_can_name_every_row_of_the_paper(cascade, row):
    assert ablated(cascade, row.without) == row.recipe(cascade)


def test_a_job_cannot_name_what_is_no_component():
    assert AblationRow(configuration="", ablations=(without_depth, without_teacher)).without == ("depth", "teacher")
    with pytest.raises(ValueError, match=r"^with_background: a job cannot name it in `without`$"):
        _ = AblationRow(configuration="", ablations=(without_depth, with_background)).without
