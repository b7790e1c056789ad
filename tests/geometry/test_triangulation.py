import pytest
import torch
from rigs import people, ring

from mas_ray.geometry.camera import Camera
from mas_ray.geometry.triangulation import per_view, triangulate


def _observe(points, num_views, dtype):
    camera = ring(num_views, dtype)
    return camera, camera.project(per_view(points, num_views)), torch.ones(num_views, 18, dtype=dtype)


@pytest.mark.parametrize(("dtype", "bound_mm"), [(torch.float64, 0.01), (torch.float32, 0.02)])
@pytest.mark.parametrize("num_views", [2, 4])
def test_inverts_projection(dtype, bound_mm, num_views):
    points = people(dtype=dtype)
    camera, keypoints, weight = _observe(points, num_views, dtype)
    assert (triangulate(keypoints, camera, weight) - points).norm(dim=-1).max() < bound_mm


def test_weight_zero_removes_a_view():
    camera, keypoints, weight = _observe(people(), 4, torch.float64)
    keypoints[2] += 300.0
    weight[2] = 0.0
    assert (triangulate(keypoints, camera, weight) - people()).norm(dim=-1).max() < 0.02


def test_gradcheck():
    camera, keypoints, weight = _observe(people(), 3, torch.float64)
    keypoints = keypoints[:, :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda k: triangulate(k, camera, weight[:, :2]), (keypoints,), atol=1e-4)


def test_repeated_cameras_and_missing_views_stay_finite():
    camera, keypoints, weight = _observe(people(dtype=torch.float32), 2, torch.float32)
    twice = Camera(K=camera.K, R=camera.R[:1].expand(2, 3, 3), t_mm=camera.t_mm[:1].expand(2, 3))
    same = keypoints[:1].repeat(2, 1, 1).requires_grad_()
    for weights in (weight, torch.zeros_like(weight)):
        points = triangulate(same, twice, weights)
        (gradient,) = torch.autograd.grad(points.sum(), same)
        assert torch.isfinite(points).all()
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("batch", [(), (2,), (1, 2)])
def test_batch_axes(batch):
    points = people(*batch)
    camera = ring(3)
    expanded = Camera(
        K=camera.K.expand(*batch, 3, 3, 3), R=camera.R.expand(*batch, 3, 3, 3), t_mm=camera.t_mm.expand(*batch, 3, 3)
    )
    keypoints = expanded.project(per_view(points, 3))
    result = triangulate(keypoints, expanded, torch.ones(keypoints.shape[:-1], dtype=torch.float64))
    assert result.shape == points.shape
    assert (result - points).norm(dim=-1).max() < 0.01
