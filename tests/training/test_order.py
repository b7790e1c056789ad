import numpy as np
import pytest
import torch

from mas_ray.training.order import draw_warps, num_single_view_steps, num_steps, plan_batches, stream_rows

EVERY = torch.ones(1, 4, dtype=torch.bool)


def test_every_row_comes_once_per_pass_and_passes_differ():
    rows = stream_rows(10, batch_size=5, steps=range(4), seed=0).reshape(2, 10)
    assert sorted(rows[0]) == sorted(rows[1]) == list(range(10))
    assert rows[0].tolist() != rows[1].tolist()


def test_a_stream_goes_on_wherever_it_is_cut():
    long = stream_rows(7, batch_size=3, steps=range(6), seed=1)
    short = [stream_rows(7, batch_size=3, steps=range(*ends), seed=1) for ends in ((0, 1), (1, 1), (1, 4), (4, 6))]
    np.testing.assert_array_equal(long, np.concatenate(short))


def _plan(steps, share, **changes):
    sizes = {"num_rows": 12, "num_single_view_rows": 5, "batch_size": 4, "seed": 3}
    return list(plan_batches(steps, single_view_share=share, **(sizes | changes)))


@pytest.mark.parametrize(
    ("share", "kinds"),
    [
        (0.0, [0, 0, 0, 0, 0, 0, 0, 0]),
        (0.25, [0, 0, 0, 1, 0, 0, 0, 1]),
        (0.5, [0, 1, 0, 1, 0, 1, 0, 1]),
        (0.75, [0, 1, 1, 1, 0, 1, 1, 1]),
    ],
)
def test_single_view_steps_are_spread_evenly(share, kinds):
    plan = _plan(range(8), share)
    assert [int(batch.single_view) for batch in plan] == kinds
    assert [batch.step for batch in plan] == list(range(8))


@pytest.mark.parametrize("share", [0.01, 0.07, 0.29, 0.3, 0.57, 0.9])
def test_the_share_is_exact_for_its_decimals(share):
    assert num_single_view_steps(100, share) == round(100 * share)
    assert sum(batch.single_view for batch in _plan(range(300), share)) == 3 * round(100 * share)


def test_each_dataset_is_a_stream_that_its_own_steps_move_on():
    plan = _plan(range(30), 0.3)
    multi, single = ([b.rows for b in plan if b.single_view is kind] for kind in (False, True))
    alone = [batch.rows for batch in _plan(range(21), 0.0)]
    np.testing.assert_array_equal(multi, alone)
    assert sorted(np.concatenate(multi[:3])) == list(range(12))
    assert [sorted(single_pass) for single_pass in np.reshape(single[:5], (4, 5))] == [list(range(5))] * 4
    same_size = _plan(range(2), 0.5, num_rows=100, num_single_view_rows=100)
    assert same_size[0].rows.tolist() != same_size[1].rows.tolist(), "both datasets in one order"


def test_a_plan_taken_up_anywhere_is_the_rest_of_the_whole():
    whole = _plan(range(20), 0.3)
    for start in range(20):
        for resumed, batch in zip(_plan(range(start, 20), 0.3), whole[start:], strict=True):
            assert (resumed.step, resumed.single_view) == (batch.step, batch.single_view)
            np.testing.assert_array_equal(resumed.rows, batch.rows)


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
