from __future__ import annotations

import math

import pytest
import torch

from mas_ray.evaluation.metrics import (
    ambiguity_ratio,
    auc_3d,
    keypoint_error_percent,
    keypoint_errors,
    mpjpe,
    n_mpjpe,
    names_are_swapped,
    p_mpjpe,
    pck_3d,
)
from mas_ray.skeleton import H36M_18

ROOT = H36M_18.index("pelvis")


def _poses(num: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(num, 18, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 300


def _all(poses: torch.Tensor) -> torch.Tensor:
    return torch.ones(poses.shape[:-1], dtype=torch.bool)


def test_mpjpe_ignores_translation_alone():
    reference = _poses()
    offset = torch.tensor([5000.0, 2.0, -9.0]).double()
    assert mpjpe(reference + offset, reference, _all(reference), root=ROOT) == pytest.approx(0, abs=1e-9)
    assert mpjpe(reference * 1.1, reference, _all(reference), root=ROOT) > 10


def test_mpjpe_is_the_mean_distance():
    reference = _poses()
    predicted = reference.clone()
    predicted[:, 3] += torch.tensor([3.0, 4.0, 0.0]).double()
    assert mpjpe(predicted, reference, _all(reference), root=ROOT) == pytest.approx(5 / 18)


def test_n_mpjpe_is_blind_to_the_size_of_the_pose_wherever_it_stands():
    reference = _poses() + 4000
    shrunk = (reference - reference[:, :1]) * 0.88 + reference[:, :1]
    assert n_mpjpe(shrunk, reference, _all(reference), root=ROOT) == pytest.approx(0, abs=1e-9)
    assert n_mpjpe(_poses(seed=1), reference, _all(reference), root=ROOT) > 100


def test_p_mpjpe_is_blind_to_similarity_but_not_to_reflection():
    reference = _poses()
    turn = torch.linalg.qr(_poses(1, seed=2)[0, :3]).Q
    turn = turn * torch.linalg.det(turn)
    assert p_mpjpe(2.0 * reference @ turn.T + 70, reference, _all(reference)) == pytest.approx(0, abs=1e-8)
    assert p_mpjpe(-reference, reference, _all(reference)) > 50


def test_pck_and_auc_of_one_known_error():
    """100 mm everywhere: within 105, 110, ..., 150, ten of the 31 thresholds."""
    errors, valid = torch.full((2, 18), 100.0), torch.ones(2, 18, dtype=torch.bool)
    assert pck_3d(errors, valid) == 100.0
    assert pck_3d(errors, valid, threshold_mm=100.0) == 0.0
    assert auc_3d(errors, valid) == pytest.approx(100 * 10 / 31)
    half = torch.where(torch.arange(18) < 9, errors, 200.0)
    assert pck_3d(half, valid) == 50.0
    assert pck_3d(half, valid & (torch.arange(18) < 9)) == 100.0


def test_exact_poses_have_every_keypoint_but_at_no_distance():
    errors, valid = torch.zeros(2, 18), torch.ones(2, 18, dtype=torch.bool)
    assert pck_3d(errors, valid) == 100.0
    assert auc_3d(errors, valid) == pytest.approx(100 * 30 / 31)


def test_the_three_alignments_are_ordered():
    reference, predicted = _poses(), _poses() + 0.2 * _poses(seed=5)
    valid = _all(reference)
    plain, scaled = (m(predicted, reference, valid, root=ROOT) for m in (mpjpe, n_mpjpe))
    assert p_mpjpe(predicted, reference, valid) < scaled <= plain


def test_invalid_joints_and_poses_without_a_root_do_not_count():
    reference = _poses(2)
    predicted = reference.clone()
    predicted[0, 7] = torch.nan
    predicted[1] += torch.randn(18, 3, dtype=torch.float64) * 100
    valid = _all(reference)
    valid[0, 7] = False
    valid[1, ROOT] = False
    assert mpjpe(predicted, reference, valid, root=ROOT) == pytest.approx(0, abs=1e-9)
    assert n_mpjpe(predicted, reference, valid, root=ROOT) == pytest.approx(0, abs=1e-9)
    assert math.isnan(mpjpe(predicted, reference, torch.zeros_like(valid), root=ROOT))


def test_keypoint_error_is_a_percentage_of_the_side():
    reference = torch.zeros(1, 4, 18, 2)
    predicted = reference + torch.tensor([0.06, 0.08])  # a twentieth of the side, which spans 2
    assert keypoint_error_percent(predicted, reference, _all(reference)) == pytest.approx(5.0)
    assert torch.allclose(keypoint_errors(predicted, reference), torch.tensor(0.1))


def _views(swapped: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions (frames, views) whose names are exchanged where told, and their reference."""
    reference = torch.rand(*swapped.shape, 18, 2, generator=torch.Generator().manual_seed(0))
    mirrored = reference[..., list(H36M_18.mirror_permutation), :]
    return torch.where(swapped[..., None, None], mirrored, reference), reference


def test_names_are_swapped_finds_exactly_the_swapped_views():
    swapped = torch.rand(20, 4, generator=torch.Generator().manual_seed(1)) < 0.5
    predicted, reference = _views(swapped)
    predicted = predicted + 0.01
    assert torch.equal(names_are_swapped(predicted, reference, _all(predicted), H36M_18.mirror_permutation), swapped)


def test_names_without_a_valid_pair_are_not_swapped():
    predicted, reference = _views(torch.ones(1, 1, dtype=torch.bool))
    valid = torch.zeros(1, 1, 18, dtype=torch.bool)
    valid[..., H36M_18.index("left_wrist")] = True
    assert not names_are_swapped(predicted, reference, valid, H36M_18.mirror_permutation).any()


def test_ambiguity_ratio_of_the_known_cases():
    valid = torch.ones(16, 4, dtype=torch.bool)
    assert ambiguity_ratio(torch.zeros_like(valid), valid) == 0
    assert ambiguity_ratio(torch.ones_like(valid), valid) == 0
    half = torch.tensor([True, True, False, False]).expand(16, 4)
    assert ambiguity_ratio(half, valid) == 0.5
    every_pattern = torch.tensor([[bool(n >> v & 1) for v in range(4)] for n in range(16)])
    assert ambiguity_ratio(every_pattern, valid) == pytest.approx(0.3125)


def test_ambiguity_ratio_counts_valid_views_alone():
    swapped = torch.tensor([[True, True, False, False], [True, False, False, False]])
    valid = torch.tensor([[True, True, False, False], [True, False, False, False]])
    assert ambiguity_ratio(swapped, valid) == 0
    assert math.isnan(ambiguity_ratio(swapped[1:], valid[1:]))
