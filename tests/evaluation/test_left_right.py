from __future__ import annotations

import torch

from mas_ray.evaluation.left_right import exchange_sides, oracle_swaps
from mas_ray.skeleton import H36M_18


def test_exchange_sides_acts_on_chosen_frames_in_all_views():
    joints = torch.randn(2, 4, 18, 2)
    exchanged = exchange_sides(joints, torch.tensor([False, True]), H36M_18)
    left, right = H36M_18.index("left_wrist"), H36M_18.index("right_wrist")
    assert torch.equal(exchanged[0], joints[0])
    assert torch.equal(exchanged[1, :, left], joints[1, :, right])
    assert torch.equal(exchanged[1, :, H36M_18.index("neck")], joints[1, :, H36M_18.index("neck")])


def test_the_oracle_swaps_only_where_that_is_nearer():
    direct, exchanged = torch.tensor([1.0, 3.0, torch.nan]), torch.tensor([2.0, 2.0, torch.nan])
    assert oracle_swaps(direct, exchanged).tolist() == [False, True, False]
