import numpy as np
import pytest
import torch

from mas_ray.training.order import draw_warps, epoch_rows, num_steps

EVERY = torch.ones(1, 4, dtype=torch.bool)


def test_every_row_comes_once_per_pass_and_passes_differ():
    rows = epoch_rows(10, batch_size=5, steps=4, seed=0, epoch=0).reshape(2, 10)
    assert sorted(rows[0]) == sorted(rows[1]) == list(range(10))
    assert rows[0].tolist() != rows[1].tolist()


def test_epochs_continue_one_stream():
    long = epoch_rows(7, batch_size=3, steps=6, seed=1, epoch=0)
    short = [epoch_rows(7, batch_size=3, steps=2, seed=1, epoch=epoch) for epoch in range(3)]
    np.testing.assert_array_equal(long, np.concatenate(short))


def test_warps_belong_to_the_row_not_to_the_batch():
    together = draw_warps(np.array([4, 9, 2]), EVERY.expand(3, 4), num_warped=2, scale=0.05, seed=0, step=7)
    alone = draw_warps(np.array([9]), EVERY, num_warped=2, scale=0.05, seed=0, step=7)
    assert torch.equal(together.view[1], alone.view[0])
    assert torch.equal(together.input_from_output[1], alone.input_from_output[0])
    later = draw_warps(np.array([9]), EVERY, num_warped=2, scale=0.05, seed=0, step=8)
    assert not torch.equal(later.input_from_output, alone.input_from_output)


def test_views_that_are_there_are_warped_first():
    some = torch.tensor([[False, True, False, True]])
    for row in range(20):
        warps = draw_warps(np.array([row]), some, num_warped=2, scale=0.05, seed=0, step=0)
        assert sorted(warps.view[0].tolist()) == [1, 3]


def test_a_split_smaller_than_a_batch_is_refused_unless_steps_are_given():
    with pytest.raises(ValueError, match="batch_size: 8 frame sets asked, the training split has 5"):
        num_steps(5, 8, None)
    assert num_steps(5, 8, 3) == 3
    assert num_steps(17, 8, None) == 2
