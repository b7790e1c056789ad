import pytest
import torch

from mas_ray.skeleton import H36M_18
from mas_ray.training.figure import centroid_and_box, warm_up_target


def _bar() -> torch.Tensor:
    mask = torch.zeros(2, 64, 64)
    mask[0, 8:56, 28:36] = 1.0
    return mask


def test_centroid_and_box_of_a_bar_and_of_nothing():
    centroid, top, bottom = centroid_and_box(_bar())
    torch.testing.assert_close(centroid[0], torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(top, torch.tensor([8 / 32 - 1, -1.0]))
    torch.testing.assert_close(bottom, torch.tensor([56 / 32 - 1, 1.0]))


def test_torso_target_pulls_two_joints_only():
    target, weight = warm_up_target(_bar(), "torso", H36M_18)
    assert weight.nonzero().flatten().tolist() == [H36M_18.index("pelvis"), H36M_18.index("thorax")]
    pelvis, thorax = target[0, H36M_18.index("pelvis")], target[0, H36M_18.index("thorax")]
    assert float(pelvis[1] - thorax[1]) == pytest.approx(0.276 * 1.5)


def test_stick_stands_upright_inside_the_box_and_is_mirrored():
    target, weight = warm_up_target(_bar(), "stick", H36M_18)
    assert weight.min() == 1.0
    y = target[0, :, 1]
    assert y.min() > 8 / 32 - 1
    assert y.max() < 56 / 32 - 1
    order = [float(y[H36M_18.index(name)]) for name in ("head", "thorax", "pelvis", "left_knee", "left_ankle")]
    assert order == sorted(order)
    mirrored = target[0, list(H36M_18.mirror_permutation)]
    torch.testing.assert_close(mirrored * torch.tensor([-1.0, 1.0]), target[0])
