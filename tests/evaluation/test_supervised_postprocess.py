from __future__ import annotations

import dataclasses

import pytest
import torch

from mas_ray.evaluation.comparison import Comparison
from mas_ray.evaluation.supervised_postprocess import ALPHAS, fit_points_to_joints, supervised_errors
from mas_ray.skeleton import H36M_18

ROOT = H36M_18.index("pelvis")
PEOPLE, PER_PERSON, VIEWS = 4, 60, 2
SUBJECTS = [f"s{n:02d}" for n in range(PEOPLE) for _ in range(PER_PERSON)]


def _random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _linear_case(num_points: int, axes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points anywhere, and joints that are an affine function of them relative to their mean."""
    points = 300 * _random(len(SUBJECTS), num_points, axes, seed=seed)
    centre = points.mean(1, keepdim=True)
    weights = _random(num_points * axes, 18 * axes, seed=1) / num_points
    joints = ((points - centre).flatten(1) @ weights + 50 * _random(18 * axes, seed=2)).unflatten(1, (18, axes))
    return points, joints + centre


@pytest.mark.parametrize(("num_points", "axes"), [(18, 3), (32, 3), (7, 3), (18, 2)])
def test_a_linear_map_is_recovered_from_any_number_of_points(num_points, axes):
    points, joints = _linear_case(num_points, axes)
    found = fit_points_to_joints(points, joints, subjects=SUBJECTS)
    others, expected = _linear_case(num_points, axes, seed=9)
    assert found.alpha == min(ALPHAS["linear"])
    assert torch.allclose(found(others), expected, atol=1e-3)
    assert found(others.unflatten(0, (-1, 5))).shape == (len(SUBJECTS) // 5, 5, 18, axes)


def test_the_map_does_not_see_where_the_points_are():
    points, joints = _linear_case(18, 3)
    found = fit_points_to_joints(points, joints, subjects=SUBJECTS, root=ROOT)
    offset = torch.tensor([4000.0, -200.0, 900.0]).double()
    assert torch.allclose(found(points + offset), found(points) + offset)
    moved = offset * _random(len(SUBJECTS), 1, 1, seed=3)
    again = fit_points_to_joints(points + moved, joints + moved, subjects=SUBJECTS, root=ROOT)
    assert torch.allclose(again(points), found(points), atol=1e-6)


def test_it_is_the_regression_of_root_centred_joints():
    points, joints = _linear_case(18, 3)
    joints = joints + 40 * _random(*joints.shape, seed=4)
    found = fit_points_to_joints(points, joints, subjects=SUBJECTS, root=ROOT)
    inputs = (points - points.mean(1, keepdim=True)).flatten(1)
    targets = (joints - joints[:, ROOT : ROOT + 1]).flatten(1)
    centred = inputs - inputs.mean(0)
    gram = centred.T @ centred
    penalty = found.alpha * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    weights = torch.linalg.solve(gram + penalty, centred.T @ (targets - targets.mean(0)))
    expected = (centred @ weights + targets.mean(0)).unflatten(1, (18, 3))
    mapped = found(points)
    assert torch.allclose(mapped - mapped[:, ROOT : ROOT + 1], expected, atol=1e-6)


def test_the_penalty_is_chosen_by_people_left_out():
    """A point gives each person away by a few millimetres, which tells nothing of the joints of the next one."""
    points, joints = _linear_case(18, 3)
    each = torch.arange(PEOPLE).repeat_interleave(PER_PERSON)
    points[:, 17] = points[:, :17].mean(1) + 3 * _random(PEOPLE, 3, seed=7)[each]
    joints = joints + 300 * _random(PEOPLE, 18, 3, seed=8)[each]
    by_person = fit_points_to_joints(points, joints, subjects=SUBJECTS)
    mixed = [SUBJECTS[(7 * n) % len(SUBJECTS)] for n in range(len(SUBJECTS))]
    assert fit_points_to_joints(points, joints, subjects=mixed).alpha == min(ALPHAS["linear"])
    assert by_person.alpha > 1e-4


def test_points_that_say_nothing_get_the_strongest_penalty():
    points, joints = 300 * _random(len(SUBJECTS), 18, 3, seed=5), 300 * _random(len(SUBJECTS), 18, 3, seed=6)
    joints = joints + points.mean(1, keepdim=True)
    assert fit_points_to_joints(points, joints, subjects=SUBJECTS).alpha == max(ALPHAS["linear"])


def test_samples_with_nan_are_left_out_and_give_nan():
    points, joints = _linear_case(18, 3)
    clean = fit_points_to_joints(points[2:], joints[2:], subjects=SUBJECTS[2:])
    points[0, 3, 1], joints[1, 5, 0] = torch.nan, torch.nan
    found = fit_points_to_joints(points, joints, subjects=SUBJECTS)
    assert found.num_samples == len(SUBJECTS) - 2
    mapped = found(points)
    assert torch.allclose(mapped[2:], clean(points[2:]), rtol=1e-12)
    assert mapped[0].isnan().all()
    assert mapped[1:].isfinite().all()


def test_a_joint_that_no_label_shows_is_nan_and_spoils_nothing():
    points, joints = _linear_case(18, 3)
    spine = H36M_18.index("spine")
    unseen = joints.clone()
    unseen[:, spine] = torch.nan
    mapped = fit_points_to_joints(points, unseen, subjects=SUBJECTS, root=ROOT)(points)
    others = [n for n in range(18) if n != spine]
    assert mapped[:, spine].isnan().all()
    assert torch.allclose(mapped[:, others], joints[:, others], atol=1e-3)


def test_points_that_never_move_give_the_mean_pose():
    _, joints = _linear_case(18, 3)
    points = torch.zeros_like(joints)
    mapped = fit_points_to_joints(points, joints, subjects=SUBJECTS)(points)
    assert torch.allclose(mapped, joints.mean(0).expand_as(joints))


def test_it_takes_two_people_and_one_name_per_sample():
    points, joints = _linear_case(18, 3)
    with pytest.raises(ValueError, match=r"^subjects: expected complete samples of at least two .* got 1$"):
        fit_points_to_joints(points, joints, subjects=["one"] * len(SUBJECTS))
    with pytest.raises(ValueError, match=r"^subjects: expected one per sample \(240\), got 1$"):
        fit_points_to_joints(points, joints, subjects=["one"])


def _comparison(seed: int) -> Comparison:
    """Predictions that are a fixed linear map away from their reference, plus noise."""
    num = len(SUBJECTS)
    points_mm, joints_mm = _linear_case(18, 3, seed)
    points_ndc, joints_ndc = _linear_case(18, 2, seed)
    points_ndc, joints_ndc = (x.unsqueeze(1).repeat(1, VIEWS, 1, 1) / 1000 for x in (points_ndc, joints_ndc))
    nowhere = torch.full((num, VIEWS, 18, 3), torch.nan, dtype=torch.float64)
    return Comparison(
        keypoints_ndc=points_ndc,
        keypoints_px=100 * points_ndc,
        monocular_mm=nowhere,
        triangulated_mm=points_mm,
        reference_ndc=joints_ndc,
        reference_px=100 * joints_ndc,
        reference_mm=joints_mm + 10 * _random(num, 18, 3, seed=seed + 100),
        two_metres_px=torch.full((num, VIEWS, 2), 500.0, dtype=torch.float64),
    )


def test_the_row_measures_the_other_split_after_the_map():
    train, test = _comparison(0), _comparison(1)
    row = supervised_errors(train, test, H36M_18, train_subjects=SUBJECTS)
    assert row.triangulated is not None
    assert row.triangulated.mpjpe_mm == pytest.approx(10 * 2**0.5 * (8 / torch.pi) ** 0.5, rel=0.2)  # root and joint
    assert row.triangulated.num_poses == len(SUBJECTS)
    assert row.percent_of_crop == pytest.approx(0, abs=1e-4)
    assert [found.group for found in row.groups] == ["trunk", "legs", "arms"]
    assert all(found.monocular_mm is None and found.triangulated_mm is not None for found in row.groups)
    assert (row.num_training_poses, row.num_training_views) == (len(SUBJECTS), VIEWS * len(SUBJECTS))


def test_nothing_of_the_measured_split_reaches_the_map():
    train, test = _comparison(0), _comparison(1)
    first = torch.arange(len(SUBJECTS)) < 5
    alone = supervised_errors(train, test.of_frames(first), H36M_18, train_subjects=SUBJECTS)
    spoilt = dataclasses.replace(
        test,
        reference_mm=torch.where(first[:, None, None], test.reference_mm, 1e4 * test.reference_mm),
        triangulated_mm=torch.where(first[:, None, None], test.triangulated_mm, torch.nan),
    )
    row = supervised_errors(train, spoilt, H36M_18, train_subjects=SUBJECTS)
    assert row.triangulated is not None
    assert alone.triangulated is not None
    assert row.triangulated.mpjpe_mm == pytest.approx(alone.triangulated.mpjpe_mm, rel=1e-12)
    assert row.triangulated.num_poses == alone.triangulated.num_poses == 5
    assert row.alpha_triangulated == alone.alpha_triangulated


def test_no_side_is_exchanged_by_asking_the_reference():
    train, test = _comparison(0), _comparison(1)
    half = torch.arange(len(SUBJECTS)) % 2 == 0
    row = supervised_errors(train, test, H36M_18, train_subjects=SUBJECTS)
    swapped = supervised_errors(train, test.with_sides_exchanged(half, H36M_18), H36M_18, train_subjects=SUBJECTS)
    assert row.triangulated is not None
    assert swapped.triangulated is not None
    assert swapped.triangulated.mpjpe_mm > 3 * row.triangulated.mpjpe_mm
    # What is exchanged in both splits throughout is only another linear map.
    everywhere = torch.ones_like(half)
    both = supervised_errors(
        train.with_sides_exchanged(everywhere, H36M_18),
        test.with_sides_exchanged(everywhere, H36M_18),
        H36M_18,
        train_subjects=SUBJECTS,
    )
    assert both.triangulated is not None
    assert both.triangulated.mpjpe_mm == pytest.approx(row.triangulated.mpjpe_mm, rel=1e-6)


def test_a_network_finds_what_no_linear_map_can():
    points, joints = _linear_case(8, 3)
    centred = points - points.mean(1, keepdim=True)
    bent = joints + 2 * centred[:, :1].abs()
    others, other_joints = points + 5 * _random(*points.shape, seed=12), bent
    errors = {
        regressor: float(
            torch.linalg.vector_norm(
                fit_points_to_joints(points, bent, subjects=SUBJECTS, regressor=regressor)(others) - other_joints,
                dim=-1,
            ).mean()
        )
        for regressor in ALPHAS
    }
    assert errors["two_hidden_layers"] < 0.6 * errors["linear"]


def test_a_network_leaves_out_nan_and_gives_it_back():
    points, joints = _linear_case(6, 3)
    spine = H36M_18.index("spine")
    joints[:, spine] = torch.nan
    points[4, 2, 0] = torch.nan
    found = fit_points_to_joints(points, joints, subjects=SUBJECTS, regressor="two_hidden_layers")
    mapped = found(points)
    assert found.num_samples == len(SUBJECTS) - 1
    assert mapped[4].isnan().all()
    assert mapped[:, spine].isnan().all()
    others = [n for n in range(18) if n != spine]
    assert mapped[5:, others].isfinite().all()
    assert torch.allclose(mapped[5:, others], found(points[5:])[:, others])
