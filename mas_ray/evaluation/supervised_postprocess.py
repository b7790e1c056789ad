"""Supervised post-processing (SPP, the paper's ††): a map, fitted to labels, from predicted points to joints.

It is fitted to the reference joints of the training split, as nothing else in this project is. So it is never part of a
model or of a prediction, only a row that is reported, under its name: for points without a meaning of their own
(Table 5) it is the only way to measure them; for named joints it says how much of their error is one map. The paper
names a linear one and a network with two hidden layers, and not which of them its figures are of.

No left or right is exchanged by asking the reference, neither in fitting nor in measuring.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mas_ray.evaluation import metrics
from mas_ray.evaluation.comparison import Comparison
from mas_ray.evaluation.protocol import group_errors, mean_of_finite, pose_errors
from mas_ray.evaluation.record import Regressor, SupervisedErrors
from mas_ray.evaluation.regressors import Regress, fit_linear, fit_two_hidden_layers
from mas_ray.geometry.alignment import root_centred
from mas_ray.skeleton import Skeleton

ALPHAS: Mapping[Regressor, tuple[float, ...]] = MappingProxyType(
    {
        "linear": (1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
        "two_hidden_layers": (1e-4, 1e-2, 1.0),
    }
)
"""Candidates for the strength of the penalty."""
_NUM_PARTS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class PointsToJoints:
    """A map from any number of points to joints in the same space, blind to where the points are as a whole.

    It acts on the points relative to their mean and gives the joints relative to the same place. Ridge regression is
    linear in its targets: with the root put on one point afterwards, as MPJPE does, the joints are exactly those of
    regressing root-centred joints with the same penalty.
    """

    regress: Regress
    """Of the flattened coordinates; NaN for joints that the labels never show."""
    alpha: float
    """The penalty chosen, one of ``ALPHAS``."""
    num_samples: int
    """Complete samples it was fitted to."""

    def __call__(self, points: Float[Tensor, "*batch points axes"]) -> Float[Tensor, "*batch joints axes"]:
        """The joints; where a point is NaN, the sample's joints all are."""
        centre = points.mean(-2, keepdim=True)
        flat = (points - centre).flatten(-2)
        mapped = self.regress(flat.reshape(-1, flat.shape[-1])).reshape(*flat.shape[:-1], -1)
        return mapped.unflatten(-1, (-1, points.shape[-1])) + centre


def supervised_errors(
    train: Comparison,
    test: Comparison,
    skeleton: Skeleton,
    *,
    train_subjects: Sequence[str],
    regressor: Regressor = "linear",
) -> SupervisedErrors:
    """Fit SPP on one split and measure another: triangulated poses in space, keypoints in the views.

    Single-view poses are not post-processed: a comparison holds them in the world, and a map that is to correct their
    depth would have to act in each camera's own frame.

    Args:
        train: The split whose reference joints are the labels.
        test: The split to measure; no number of it has any influence on the map.
        skeleton: Of both.
        train_subjects: The person in each frame of ``train``.
        regressor: Which map.

    Raises:
        ValueError: See ``fit_points_to_joints``.
    """
    root = skeleton.parents.index(-1)
    num_views = train.keypoints_ndc.shape[1]
    in_space = fit_points_to_joints(
        train.triangulated_mm, train.reference_mm, subjects=train_subjects, root=root, regressor=regressor
    )
    in_views = fit_points_to_joints(
        train.keypoints_ndc.flatten(0, 1),
        train.reference_ndc.flatten(0, 1),
        subjects=[subject for subject in train_subjects for _ in range(num_views)],
        regressor=regressor,
    )
    joints_mm = in_space(test.triangulated_mm)
    triangulated_mm = metrics.root_aligned_errors(joints_mm, test.reference_mm, root=root)
    percent = metrics.keypoint_errors(in_views(test.keypoints_ndc), test.reference_ndc) * 100.0 / 2.0
    errors = {
        "triangulated_mm": triangulated_mm,
        "monocular_mm": torch.full_like(percent, torch.nan),
        "percent_of_crop": percent,
    }
    return SupervisedErrors(
        regressor=regressor,
        triangulated=pose_errors(joints_mm, test.reference_mm, root=root),
        percent_of_crop=mean_of_finite(percent),
        groups=group_errors(errors, skeleton),
        alpha_triangulated=in_space.alpha,
        alpha_keypoints=in_views.alpha,
        num_training_poses=in_space.num_samples,
        num_training_views=in_views.num_samples,
    )


def fit_points_to_joints(
    points: Float[Tensor, "samples points axes"],
    joints: Float[Tensor, "samples joints axes"],
    *,
    subjects: Sequence[str],
    root: int | None = None,
    regressor: Regressor = "linear",
) -> PointsToJoints:
    """Fit the map; its penalty is the one that serves training subjects best when fitted on others.

    Args:
        points: Predicted points. Samples with a NaN among the points or joints are left out.
        joints: Reference joints of the same samples. A joint that no sample has is NaN in what the map gives.
        subjects: The person in each sample.
        root: Joint that is put on one point before errors are taken to choose the penalty; None takes them in place.
        regressor: Which map.

    Raises:
        ValueError: ``subjects`` is not one per sample, or fewer than two of them have complete samples.
    """
    if len(subjects) != len(points):
        raise ValueError(f"subjects: expected one per sample ({len(points)}), got {len(subjects)}")
    known = joints.isfinite().all(-1).any(0)
    complete = points.isfinite().all(-1).all(-1) & (joints.isfinite().all(-1) | ~known).all(-1)
    person = torch.from_numpy(np.unique(np.asarray(subjects), return_inverse=True)[1])[complete]
    points, joints = points[complete], joints[complete]
    if len(person.unique()) < 2:
        raise ValueError(
            f"subjects: expected complete samples of at least two to choose the penalty, got {len(person.unique())}"
        )
    fit = functools.partial(_fit, regressor=regressor)
    alphas = ALPHAS[regressor]
    errors = [_held_out_error(points, joints, person, fit=functools.partial(fit, alpha=a), root=root) for a in alphas]
    return fit(points, joints, alpha=alphas[int(np.argmin(errors))])


def _held_out_error(
    points: Float[Tensor, "samples points axes"],
    joints: Float[Tensor, "samples joints axes"],
    person: Int64[Tensor, " samples"],
    *,
    fit: Callable[[Tensor, Tensor], PointsToJoints],
    root: int | None,
) -> float:
    """Mean distance of the joints, every person's given by a map fitted on others; the people are in five parts."""
    mapped = torch.empty_like(joints)
    for part in (person % _NUM_PARTS).unique():
        held_out = person % _NUM_PARTS == part
        mapped[held_out] = fit(points[~held_out], joints[~held_out])(points[held_out])
    if root is not None:
        mapped, joints = root_centred(mapped, root), root_centred(joints, root)
    return float(torch.linalg.vector_norm(mapped - joints, dim=-1).nanmean())


def _fit(
    points: Float[Tensor, "samples points axes"],
    joints: Float[Tensor, "samples joints axes"],
    *,
    alpha: float,
    regressor: Regressor,
) -> PointsToJoints:
    centre = points.mean(-2, keepdim=True)
    inputs, targets = (points - centre).flatten(1), (joints - centre).flatten(1)
    fit = {"linear": fit_linear, "two_hidden_layers": fit_two_hidden_layers}[regressor]
    return PointsToJoints(regress=fit(inputs, targets, alpha), alpha=alpha, num_samples=len(points))
