from __future__ import annotations

import pytest
import torch

from mas_ray.geometry.chirality import knee_chirality
from mas_ray.geometry.naming import swap_sides
from mas_ray.skeleton import H36M_18


def _standing(knee_forward_mm: float = 40.0) -> torch.Tensor:
    """A figure that faces +y, z up, its left at -x, in millimetres."""
    places = {
        "pelvis": (0.0, 0.0, 900.0),
        "thorax": (0.0, 0.0, 1400.0),
        "left_hip": (-120.0, 0.0, 900.0),
        "right_hip": (120.0, 0.0, 900.0),
        "left_knee": (-120.0, knee_forward_mm, 450.0),
        "right_knee": (120.0, knee_forward_mm, 450.0),
        "left_ankle": (-120.0, 0.0, 0.0),
        "right_ankle": (120.0, 0.0, 0.0),
    }
    return torch.tensor([[places.get(joint, (0.0, 0.0, 1200.0)) for joint in H36M_18.joints]], dtype=torch.float64)


def test_knee_chirality_is_the_forward_bend_in_millimetres():
    found = knee_chirality(_standing(40.0), H36M_18)
    assert found is not None
    assert found.mean_mm == pytest.approx(40.0)
    assert not found.says_swapped


def test_knee_chirality_changes_sign_and_nothing_else_under_a_global_swap():
    poses = torch.cat([_standing(bend) for bend in (10.0, 30.0, 80.0)])
    found = knee_chirality(poses, H36M_18)
    swapped = knee_chirality(swap_sides(poses, torch.ones(3, 18, dtype=torch.bool), H36M_18), H36M_18)
    assert found is not None
    assert swapped is not None
    assert swapped.mean_mm == pytest.approx(-found.mean_mm)
    assert swapped.standard_error_mm == pytest.approx(found.standard_error_mm)
    assert swapped.says_swapped


def test_knee_chirality_does_not_depend_on_the_frame_of_the_world():
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))).Q
    turn = turn * torch.linalg.det(turn)
    found = knee_chirality(_standing() @ turn.T + 3000, H36M_18)
    assert found is not None
    assert found.mean_mm == pytest.approx(40.0)


def test_knee_chirality_takes_complete_poses_alone_and_states_its_error():
    poses = torch.cat([_standing(10.0), _standing(30.0), torch.full((1, 18, 3), torch.nan, dtype=torch.float64)])
    found = knee_chirality(poses, H36M_18)
    assert found is not None
    assert found.num_poses == 2
    assert found.mean_mm == pytest.approx(20.0)
    assert found.standard_error_mm == pytest.approx(10.0)
    assert knee_chirality(poses[2:], H36M_18) is None


def test_knee_chirality_over_takes_counts_each_take_once():
    """Two hundred alike poses of one take say no more than one of them."""
    bends = [10.0] * 200 + [30.0, 50.0]
    poses = torch.cat([_standing(bend) for bend in bends] + [torch.full((1, 18, 3), torch.nan, dtype=torch.float64)])
    takes = ["dance"] * 200 + ["walk"] * 2 + ["jump"]
    found = knee_chirality(poses, H36M_18, takes=takes)
    assert found is not None
    assert found.num_poses == 202
    assert found.mean_mm == pytest.approx((10.0 + 40.0) / 2)
    assert found.standard_error_mm == pytest.approx(15.0)  # half of what lies between two means
    over_poses = knee_chirality(poses, H36M_18)
    assert over_poses is not None
    assert over_poses.standard_error_mm < 0.5
    assert knee_chirality(poses[202:], H36M_18, takes=takes[202:]) is None
