import math

import pytest
import torch

from mas_ray.geometry.camera import Camera
from mas_ray.skeleton import H36M_18
from mas_ray.training.figure import mask_centroid, stance, warm_up_target


def _bar() -> torch.Tensor:
    """One frame set of two views: an upright bar, and nothing."""
    mask = torch.zeros(1, 2, 64, 64)
    mask[0, 0, 8:56, 28:36] = 1.0
    return mask


def _uncalibrated() -> tuple[Camera, torch.Tensor]:
    eye = torch.eye(3).expand(1, 2, 3, 3)
    t_mm = torch.tensor([0.0, 0.0, 1000.0]).expand(1, 2, 3)
    return Camera(K=eye, R=eye, t_mm=t_mm), torch.zeros(1, 2, dtype=torch.bool)


def _rolled_ring(roll_deg: float) -> Camera:
    """Four cameras around the origin at 3 m, Z up, each rolled the same way."""
    roll = math.radians(roll_deg)
    turn = torch.tensor([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1.0]])
    rotations = []
    for quarter in range(4):
        azimuth = quarter * math.pi / 2
        forward = torch.tensor([-math.cos(azimuth), -math.sin(azimuth), 0.0])
        right = torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0]))
        rotations.append(turn @ torch.stack([right, torch.linalg.cross(forward, right), forward]))
    return Camera(
        K=torch.diag(torch.tensor([2.0, 2.0, 1.0])).expand(1, 4, 3, 3),
        R=torch.stack(rotations)[None],
        t_mm=torch.tensor([0.0, 0.0, 3000.0]).expand(1, 4, 3),
    )


def test_a_bar_and_nothing_without_calibration():
    figure = stance(_bar(), *_uncalibrated())
    torch.testing.assert_close(figure.centroid, torch.zeros(1, 2, 2), atol=1e-6, rtol=0)
    torch.testing.assert_close(figure.up, torch.tensor([[[0.0, -1.0], [0.0, -1.0]]]))
    torch.testing.assert_close(figure.height[0, 0], torch.tensor(47 / 32))
    torch.testing.assert_close(figure.height[0, 1], torch.tensor(2.0))
    torch.testing.assert_close(mask_centroid(_bar()), figure.centroid)


def test_up_is_the_worlds_however_a_camera_is_rolled():
    camera = _rolled_ring(25.0)
    figure = stance(torch.ones(1, 4, 64, 64), camera, torch.ones(1, 4, dtype=torch.bool))
    above = camera.project(torch.tensor([[0.0, 0.0, 500.0]]).expand(1, 4, 1, 3)).squeeze(-2)
    expected = torch.nn.functional.normalize(above, dim=-1)
    torch.testing.assert_close(figure.up, expected, atol=1e-3, rtol=0)
    assert (figure.up[..., 0].abs() > 0.4).all()


def test_torso_target_pulls_two_joints_only():
    target, weight = warm_up_target(stance(_bar(), *_uncalibrated()), "torso", H36M_18)
    assert weight.nonzero().flatten().tolist() == [H36M_18.index("pelvis"), H36M_18.index("thorax")]
    pelvis, thorax = target[0, 0, H36M_18.index("pelvis")], target[0, 0, H36M_18.index("thorax")]
    assert float(pelvis[1] - thorax[1]) == pytest.approx(0.288 * 47 / 32)


def test_stick_stands_upright_inside_the_figure_and_is_mirrored():
    target, weight = warm_up_target(stance(_bar(), *_uncalibrated()), "stick", H36M_18)
    assert weight.min() == 1.0
    y = target[0, 0, :, 1]
    assert y.min() > 8 / 32 - 1
    assert y.max() < 56 / 32 - 1
    order = [float(y[H36M_18.index(name)]) for name in ("head", "thorax", "pelvis", "left_knee", "left_ankle")]
    assert order == sorted(order)
    mirrored = target[0, 0, list(H36M_18.mirror_permutation)]
    torch.testing.assert_close(mirrored * torch.tensor([-1.0, 1.0]), target[0, 0])
    left, right = H36M_18.index("left_hip"), H36M_18.index("right_hip")
    assert target[0, 0, left, 0] > target[0, 0, right, 0]
