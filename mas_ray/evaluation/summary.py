"""The figures of an evaluation that fit into one line, under one handling of left and right."""

from __future__ import annotations

from dataclasses import dataclass

from mas_ray.evaluation.left_right import Handling
from mas_ray.evaluation.record import Evaluation


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Errors in percent of the crop's side and in millimetres; None where nothing was comparable."""

    percent_of_crop: float | None
    trunk_percent: float | None
    legs_percent: float | None
    arms_percent: float | None
    mpjpe_mm: float | None
    """Of triangulated poses, as the next."""
    p_mpjpe_mm: float | None
    monocular_mpjpe_mm: float | None
    """Of poses that one view alone gives, as the next."""
    monocular_p_mpjpe_mm: float | None


def summarise(evaluation: Evaluation, handling: Handling) -> Summary:
    """The figures under one handling."""
    accuracy = evaluation.under(handling)
    percent = {group.group: group.percent_of_crop for group in accuracy.groups}
    keypoints, triangulated, monocular = accuracy.keypoints, accuracy.triangulated, accuracy.monocular
    return Summary(
        percent_of_crop=keypoints and keypoints.percent_of_crop,
        trunk_percent=percent.get("trunk"),
        legs_percent=percent.get("legs"),
        arms_percent=percent.get("arms"),
        mpjpe_mm=triangulated and triangulated.mpjpe_mm,
        p_mpjpe_mm=triangulated and triangulated.p_mpjpe_mm,
        monocular_mpjpe_mm=monocular and monocular.mpjpe_mm,
        monocular_p_mpjpe_mm=monocular and monocular.p_mpjpe_mm,
    )
