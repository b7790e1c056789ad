from __future__ import annotations

import math

import pytest
import torch

from mas_ray.geometry.alignment import optimal_scale, procrustes, root_centred


def _poses(*batch: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*batch, 18, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 300


def _all(poses: torch.Tensor) -> torch.Tensor:
    return torch.ones(poses.shape[:-1], dtype=torch.bool)


def _rotation(angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    about_z = torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    about_x = torch.tensor([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]], dtype=torch.float64)
    return about_z @ about_x


def test_root_centred_puts_the_root_on_the_origin_and_keeps_differences():
    poses = _poses(4)
    centred = root_centred(poses, 2)
    assert torch.equal(centred[:, 2], torch.zeros(4, 3, dtype=torch.float64))
    assert torch.allclose(centred[:, 5] - centred[:, 7], poses[:, 5] - poses[:, 7])


def test_optimal_scale_is_the_least_squares_factor():
    predicted, reference = _poses(seed=1), _poses(seed=2)
    best = optimal_scale(predicted, reference, _all(predicted))

    def error(scale: float) -> float:
        return float((scale * predicted - reference).square().sum())

    assert error(float(best)) < min(error(float(best) + 1e-3), error(float(best) - 1e-3))
    assert torch.allclose(optimal_scale(predicted / 1.7, predicted, _all(predicted)), torch.tensor(1.7).double())
    assert optimal_scale(torch.zeros_like(predicted), reference, _all(predicted)) == 0


@pytest.mark.parametrize("batch", [(), (2,), (1, 2)])
def test_procrustes_undoes_a_similarity_transform(batch):
    reference = _poses(*batch)
    predicted = 0.4 * reference @ _rotation(2.1).T + torch.tensor([900.0, -40.0, 12.0]).double()
    assert torch.allclose(procrustes(predicted, reference, _all(reference)), reference, atol=1e-8)


def test_procrustes_turns_no_pose_into_its_mirror_image():
    reference = _poses(3)
    mirrored = reference * torch.tensor([-1.0, 1.0, 1.0]).double()
    aligned = procrustes(mirrored, reference, _all(reference))
    assert ((aligned - reference).norm(dim=-1).mean(-1) > 50).all()

    def handedness(poses: torch.Tensor) -> torch.Tensor:
        edges = poses[:, 1:4] - poses[:, :1]
        return torch.linalg.det(edges).sign()

    assert torch.equal(handedness(aligned), handedness(mirrored))


def test_procrustes_is_at_least_as_near_as_any_rotation_tried():
    reference, predicted = _poses(seed=3), _poses(seed=4)
    residual = (procrustes(predicted, reference, _all(reference)) - reference).square().sum()
    centred = predicted - predicted.mean(0)
    for angle in torch.linspace(0, 6, 25).tolist():
        turned = centred @ _rotation(angle).T
        target = reference - reference.mean(0)
        scaled = optimal_scale(turned, target, _all(reference)) * turned
        assert residual <= (scaled - target).square().sum() + 1e-6


def test_invalid_joints_have_no_influence_even_as_nan():
    reference = _poses(2)
    predicted = 1.3 * reference @ _rotation(0.7).T + 50
    valid = _all(reference)
    valid[:, [4, 9]] = False
    spoilt = predicted.clone()
    spoilt[:, [4, 9]] = torch.nan
    aligned = procrustes(spoilt, reference, valid)
    assert torch.allclose(aligned[valid], reference[valid], atol=1e-8)
    assert torch.allclose(optimal_scale(spoilt, spoilt * 2, valid), torch.tensor(2.0).double())
