from __future__ import annotations

import dataclasses

import pytest

from mas_ray.config.cascade import cpu_cascade, paper_cascade
from mas_ray.evaluation.left_right import HANDLINGS
from mas_ray.evaluation.protocol import Accuracy, Evaluation, EvaluationSource, KeypointErrors, PoseErrors
from mas_ray.evaluation.published import (
    TABLE_4,
    TABLE_5,
    Figures,
    beside_published,
    figures,
    figures_after_postprocess,
)
from mas_ray.evaluation.supervised_postprocess import SupervisedErrors


@pytest.mark.parametrize("cascade", [paper_cascade(), cpu_cascade()])
def test_every_row_is_another_recipe_and_the_last_is_the_whole(cascade):
    for rows in (TABLE_4, TABLE_5):
        trained = [(row.recipe(cascade), row.supervised_postprocess) for row in rows]
        assert all(trained[i] != trained[j] for i in range(len(rows)) for j in range(i))
        assert trained[-1] == (cascade, False)
    bare = TABLE_4[0].recipe(cascade).stages
    assert not any(s.geodesic_weighting or s.loss_weights.physique_mask or s.loss_weights.depth for s in bare)
    assert {s.bone_set for s in TABLE_5[2].recipe(cascade).stages} == {"points"}


def test_published_figures_reproduce_their_own_order():
    for rows in (TABLE_4, TABLE_5):
        text = beside_published(rows, [row.published for row in rows])
        assert text.count("6 of 6 pairs in the published order") == text.count("best first")
    lines = beside_published(TABLE_4, [row.published for row in TABLE_4]).splitlines()
    assert lines[0] == "|  | MPJPE mm measured | MPJPE mm published | r % measured | r % published |"
    assert lines[2] == "| wo ψ, G, Δ | 118.1 | 118.1 | 48.73 | 48.73 |"
    assert lines[-2].startswith("- MPJPE mm, best first. Published: Full; wo G; wo ψ, G, Δ; wo ψ, G. ")


def test_an_order_that_does_not_hold_is_said():
    measured = [Figures(percent_of_crop=value) for value in (9.0, 12.0, 7.0, 8.0)]
    text = beside_published(TABLE_5, measured)
    assert "| wo structure prior + SPP | 7.00 | 9.32 |" in text
    assert "Measured: wo structure prior + SPP; structure prior & ψ; wo structure prior, wo ψ; wo structure" in text
    assert "4 of 6 pairs in the published order" in text


def test_a_figure_that_could_not_be_measured_has_no_place_in_the_order():
    measured = [Figures(percent_of_crop=9.0), Figures(), Figures(percent_of_crop=7.0), Figures(percent_of_crop=5.0)]
    text = beside_published(TABLE_5, measured)
    assert "| wo structure prior | - | 20.06 |" in text
    assert "3 of 3 pairs" in text
    with pytest.raises(ValueError, match=r"^measured: expected one per row \(4\), got 1$"):
        beside_published(TABLE_5, measured[:1])


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
