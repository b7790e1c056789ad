"""An evaluation with figures of choice."""

from __future__ import annotations

import dataclasses

from mas_ray.evaluation.left_right import HANDLINGS
from mas_ray.evaluation.protocol import PROTOCOL
from mas_ray.evaluation.record import (
    FORMAT,
    Accuracy,
    Evaluation,
    EvaluationSource,
    GroupError,
    JointGroup,
    KeypointErrors,
    PoseErrors,
)
from mas_ray.geometry.chirality import KneeChirality

_GROUPS: tuple[JointGroup, ...] = ("trunk", "legs", "arms")


def made_up_evaluation(
    *,
    percent: float = 3.5,
    arms_percent: float = 6.0,
    mpjpe_mm: float = 90.0,
    p_mpjpe_mm: float = 80.0,
    monocular_mm: float = 110.0,
    ambiguity_ratio: float = 0.05,
    exchanged: float = 0.0,
    chirality: tuple[float, float] | None = (12.0, 1.5),
) -> Evaluation:
    """The same errors under every handling; the global bit exchanges the share asked for.

    ``chirality`` is mean and standard error over takes; the one over poses is far smaller.
    """
    knees = chirality and KneeChirality(mean_mm=chirality[0], standard_error_mm=chirality[1], num_poses=8)
    return Evaluation(
        format=FORMAT,
        protocol=PROTOCOL,
        source=EvaluationSource(
            checkpoint="runs/it",
            corpus="studio",
            split="test",
            reference="made up",
            num_frame_sets=8,
            num_without_reference=0,
            takes=("dance",),
            takes_also_trained_on=(),
            faults=(),
        ),
        ambiguity_ratio=ambiguity_ratio,
        knee_chirality=knees and dataclasses.replace(knees, standard_error_mm=0.1),
        knee_chirality_of_takes=knees,
        accuracy_without_faults=(),
        paper=None,
        accuracy=tuple(
            Accuracy(
                handling=handling,
                exchanged_fraction=exchanged if handling == "global_bit" else 0.0,
                triangulated=PoseErrors(
                    mpjpe_mm=mpjpe_mm,
                    n_mpjpe_mm=85.0,
                    p_mpjpe_mm=p_mpjpe_mm,
                    pck_150_percent=80.0,
                    auc_150_percent=40.0,
                    num_poses=8,
                ),
                monocular=PoseErrors(
                    mpjpe_mm=150.0,
                    n_mpjpe_mm=140.0,
                    p_mpjpe_mm=monocular_mm,
                    pck_150_percent=80.0,
                    auc_150_percent=40.0,
                    num_poses=32,
                ),
                keypoints=KeypointErrors(percent_of_crop=percent, px=9.1, num_views=32),
                groups=tuple(
                    GroupError(
                        group=group,
                        triangulated_mm=70.0,
                        monocular_mm=100.0,
                        percent_of_crop=arms_percent if group == "arms" else 2.5,
                    )
                    for group in _GROUPS
                ),
                joints=(),
                actions=(),
            )
            for handling in HANDLINGS
        ),
    )
