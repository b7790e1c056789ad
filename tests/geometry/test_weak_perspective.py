"""A pose that was projected in parallel comes back, whatever its scale and wherever it was in the picture."""

import math

import pytest
import torch

from mas_ray.geometry.weak_perspective import lift
from mas_ray.skeleton import H36M_18

PARENTS = H36M_18.parents


def bones_mm(pose: torch.Tensor) -> torch.Tensor:
    child = [n for n, parent in enumerate(PARENTS) if parent >= 0]
    return (pose[..., child, :] - pose[..., [PARENTS[n] for n in child], :]).norm(dim=-1).sum(-1)


def test_a_pose_comes_back():
    pose = 300.0 * torch.randn(5, 18, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pose = pose * (4000.0 / bones_mm(pose))[:, None, None]
    shift = torch.tensor([700.0, 300.0], dtype=torch.float64)
    found = lift(pose[..., :2] / 3.7 + shift, pose[..., 2] + 55.0, parents=PARENTS, bones_mm=4000.0)
    torch.testing.assert_close(found, pose - pose[:, :1], atol=1e-6, rtol=0)


def test_bones_are_as_long_as_asked_for():
    generator = torch.Generator().manual_seed(1)
    keypoints, depth = (
        50 * torch.randn(3, 2, 18, 2, generator=generator),
        10 * torch.randn(3, 2, 18, generator=generator),
    )
    found = lift(keypoints, depth, parents=PARENTS, bones_mm=4250.0)
    torch.testing.assert_close(bones_mm(found), torch.full((3, 2), 4250.0), rtol=1e-4, atol=0)
    torch.testing.assert_close(found[..., 2], depth - depth[..., :1])


@pytest.mark.parametrize("what", ["depths too long", "one point", "nothing"])
def test_what_no_scale_explains_is_nowhere(what):
    keypoints, depth = torch.rand(18, 2), torch.zeros(18)
    if what == "depths too long":
        depth = torch.arange(18) * 1000.0
    elif what == "one point":
        keypoints = torch.full((18, 2), 3.0)
    else:
        keypoints[4] = math.nan
    assert lift(keypoints, depth, parents=PARENTS, bones_mm=4250.0).isnan().all()
