from __future__ import annotations

import dataclasses

import pytest

from mas_ray.config.ablations import without_teacher
from mas_ray.config.cascade import cpu_cascade, paper_cascade
from mas_ray.config.stage import TeacherConfig
from mas_ray.evaluation.left_right import HANDLINGS
from mas_ray.evaluation.protocol import Accuracy, Evaluation, EvaluationSource, KeypointErrors, PoseErrors
from mas_ray.evaluation.published import (
    FIG_4,
    TABLE_4,
    TABLE_5,
    Figures,
    figures,
    figures_after_postprocess,
)
from mas_ray.evaluation.supervised_postprocess import SupervisedErrors


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


def test_figures_are_taken_under_the_handling_asked_for():
    accuracy = [
        Accuracy(
            handling=handling,
            exchanged_fraction=0.0,
            triangulated=PoseErrors(mpjpe_mm=100.0 - n, n_mpjpe_mm=90.0, p_mpjpe_mm=70.0, num_poses=8),
            monocular=None,
            keypoints=KeypointErrors(percent_of_crop=5.0 - n, px=9.1, num_views=16),
            groups=(),
            joints=(),
        )
        for n, handling in enumerate(HANDLINGS)
    ]
    evaluation = Evaluation(
        format="",
        protocol="",
        source=EvaluationSource(
            checkpoint="c",
            corpus="studio",
            split="test",
            reference="made up",
            num_frame_sets=8,
            num_without_reference=0,
            takes=("dance",),
            takes_also_trained_on=(),
        ),
        ambiguity_ratio=0.2,
        knee_chirality=None,
        accuracy=tuple(accuracy),
    )
    assert figures(evaluation, "raw") == Figures(mpjpe_mm=100.0, ambiguity_ratio=0.2, percent_of_crop=5.0)
    assert figures(evaluation, "oracle_pose") == Figures(mpjpe_mm=98.0, ambiguity_ratio=0.2, percent_of_crop=3.0)
    nothing = dataclasses.replace(accuracy[0], triangulated=None, keypoints=None)
    assert figures(dataclasses.replace(evaluation, accuracy=(nothing,)), "raw") == Figures(ambiguity_ratio=0.2)


def test_figures_after_postprocess_have_no_r():
    errors = SupervisedErrors(
        triangulated=PoseErrors(mpjpe_mm=65.5, n_mpjpe_mm=66.1, p_mpjpe_mm=60.0, num_poses=8),
        percent_of_crop=2.52,
        groups=(),
        alpha_triangulated=1e-3,
        alpha_keypoints=1e-3,
        num_training_poses=100,
        num_training_views=400,
    )
    assert figures_after_postprocess(errors) == Figures(mpjpe_mm=65.5, percent_of_crop=2.52)
