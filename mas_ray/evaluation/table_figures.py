"""The figures of the paper's tables, taken of an evaluation by ``protocol.PROTOCOL``."""

from __future__ import annotations

from mas_ray.config.published import Figures
from mas_ray.evaluation.left_right import Handling
from mas_ray.evaluation.record import Evaluation, SupervisedErrors


def figures(evaluation: Evaluation, handling: Handling) -> Figures:
    """An evaluation's figures of the tables: MPJPE of triangulated poses, r, and the 2D error.

    Without triangulation in training (no Δ) views name left and right by themselves (published r: 49 %), and the
    published MPJPE can hardly be had of such poses as they are: ``oracle_pose`` comes nearest to what was compared.
    """
    accuracy = evaluation.under(handling)
    return Figures(
        mpjpe_mm=None if accuracy.triangulated is None else accuracy.triangulated.mpjpe_mm,
        ambiguity_ratio=evaluation.ambiguity_ratio,
        percent_of_crop=None if accuracy.keypoints is None else accuracy.keypoints.percent_of_crop,
    )


def figures_after_postprocess(errors: SupervisedErrors) -> Figures:
    """The figures of a row with SPP. It has no r: the map is one for all views."""
    return Figures(
        mpjpe_mm=None if errors.triangulated is None else errors.triangulated.mpjpe_mm,
        percent_of_crop=errors.percent_of_crop,
    )
