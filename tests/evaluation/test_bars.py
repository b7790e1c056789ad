from __future__ import annotations

import dataclasses

import pytest
from made_up_evaluation import made_up_evaluation

from mas_ray.evaluation.bars import BARS
from mas_ray.evaluation.summary import summarise


def test_the_bars_are_those_agreed_upon():
    assert [(bar.kind, bar.limit) for bar in BARS] == [
        *[("at most", limit) for limit in (4.0, 6.5, 95.0, 85.0, 120.0, 0.08, 0.0)],
        ("more than", 5.0),
    ]
    good = made_up_evaluation(percent=4.0, arms_percent=6.5, mpjpe_mm=95.0, ambiguity_ratio=0.08)
    assert all(bar.outcome(good).met for bar in BARS)


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (0, {"percent": 4.1}),
        (1, {"arms_percent": 6.6}),
        (2, {"mpjpe_mm": 96.0}),
        (3, {"p_mpjpe_mm": 86.0}),
        (4, {"monocular_mm": 121.0}),
        (5, {"ambiguity_ratio": 0.09}),
        (6, {"exchanged": 1.0}),
        (7, {"chirality": (5.0, 1.0)}),
        (7, {"chirality": None}),
    ],
)
def test_each_is_missed_by_its_own_figure_alone(number, change):
    outcomes = [bar.outcome(made_up_evaluation(**change)) for bar in BARS]
    assert [n for n, outcome in enumerate(outcomes) if not outcome.met] == [number]


def test_knees_that_bend_backwards_by_the_names_are_as_certain():
    outcome = BARS[7].outcome(made_up_evaluation(chirality=(-12.0, 1.5)))
    assert (outcome.value, outcome.met) == (8.0, True)


def test_what_could_not_be_compared_is_missed():
    evaluation = made_up_evaluation()
    nothing = [
        dataclasses.replace(accuracy, triangulated=None, monocular=None, keypoints=None, groups=())
        for accuracy in evaluation.accuracy
    ]
    outcomes = [bar.outcome(dataclasses.replace(evaluation, accuracy=tuple(nothing))) for bar in BARS[:5]]
    assert [(outcome.value, outcome.met) for outcome in outcomes] == [(None, False)] * 5


def test_a_summary_holds_the_figures_of_its_handling():
    evaluation = made_up_evaluation(percent=3.0, arms_percent=5.0)
    raw = dataclasses.replace(evaluation.accuracy[0], keypoints=None)
    evaluation = dataclasses.replace(evaluation, accuracy=(raw, *evaluation.accuracy[1:]))
    assert summarise(evaluation, "raw").percent_of_crop is None
    assert dataclasses.astuple(summarise(evaluation, "oracle_pose")) == (3.0, 2.5, 2.5, 5.0, 90.0, 80.0, 150.0, 110.0)
