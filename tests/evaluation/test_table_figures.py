from __future__ import annotations

import dataclasses

from mas_ray.config.published import Figures
from mas_ray.evaluation.left_right import HANDLINGS
from mas_ray.evaluation.record import (
    Accuracy,
    Evaluation,
    EvaluationSource,
    KeypointErrors,
    PoseErrors,
    SupervisedErrors,
)
from mas_ray.evaluation.table_figures import figures, figures_after_postprocess


def test_figures_are_taken_under_the_handling_asked_for():
    accuracy = [
        Accuracy(
            handling=handling,
            exchanged_fraction=0.0,
            triangulated=PoseErrors(
                mpjpe_mm=100.0 - n,
                n_mpjpe_mm=90.0,
                p_mpjpe_mm=70.0,
                pck_150_percent=80.0,
                auc_150_percent=40.0,
                num_poses=8,
            ),
            monocular=None,
            keypoints=KeypointErrors(percent_of_crop=5.0 - n, px=9.1, num_views=16),
            groups=(),
            joints=(),
            actions=(),
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
            faults=(),
        ),
        ambiguity_ratio=0.2,
        knee_chirality=None,
        knee_chirality_of_takes=None,
        accuracy_without_faults=(),
        paper=None,
        accuracy=tuple(accuracy),
    )
    assert figures(evaluation, "raw") == Figures(mpjpe_mm=100.0, ambiguity_ratio=0.2, percent_of_crop=5.0)
    assert figures(evaluation, "oracle_pose") == Figures(mpjpe_mm=98.0, ambiguity_ratio=0.2, percent_of_crop=3.0)
    nothing = dataclasses.replace(accuracy[0], triangulated=None, keypoints=None)
    assert figures(dataclasses.replace(evaluation, accuracy=(nothing,)), "raw") == Figures(ambiguity_ratio=0.2)


def test_figures_after_postprocess_have_no_r():
    errors = SupervisedErrors(
        regressor="linear",
        triangulated=PoseErrors(
            mpjpe_mm=65.5, n_mpjpe_mm=66.1, p_mpjpe_mm=60.0, pck_150_percent=80.0, auc_150_percent=40.0, num_poses=8
        ),
        percent_of_crop=2.52,
        groups=(),
        alpha_triangulated=1e-3,
        alpha_keypoints=1e-3,
        num_training_poses=100,
        num_training_views=400,
    )
    assert figures_after_postprocess(errors) == Figures(mpjpe_mm=65.5, percent_of_crop=2.52)
