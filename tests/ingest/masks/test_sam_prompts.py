import numpy as np
from pictures import figure_mask

from mas_ray.ingest.masks.sam_prompts import moved_logits, moved_mask, prompts_from_mask


def test_prompts_lie_where_they_should():
    mask = figure_mask()
    prompts = prompts_from_mask(mask, num_positive=3, num_negative=2)
    left, top, right, bottom = prompts.box
    rows, columns = np.nonzero(mask)
    assert left < columns.min() < columns.max() < right
    assert top < rows.min() < rows.max() < bottom
    inside = [mask[int(y), int(x)] for x, y in prompts.points]
    assert inside == [True, True, True, False, False]
    assert prompts.labels.tolist() == [1, 1, 1, 0, 0]
    assert prompts.logits is None
    apart = np.linalg.norm(prompts.points[:, None] - prompts.points[None], axis=-1)[np.triu_indices(5, 1)]
    assert apart.min() > 20


def test_the_box_grows_by_the_motion_on_every_side():
    still = prompts_from_mask(figure_mask(), num_positive=1, num_negative=0)
    moving = prompts_from_mask(figure_mask(), num_positive=1, num_negative=0, motion_px=(-6.0, 2.0))
    np.testing.assert_allclose(moving.box - still.box, [-6, -2, 6, 2])
    np.testing.assert_array_equal(moving.points, still.points)


def test_prompts_of_a_mask_that_fills_the_picture_have_no_outside():
    prompts = prompts_from_mask(np.ones((50, 40), bool), num_positive=2, num_negative=2, motion_px=(9.0, 9.0))
    assert prompts.labels.tolist() == [1, 1]
    assert prompts.box.tolist() == [0, 0, 39, 49]


def test_prompts_may_have_no_points():
    prompts = prompts_from_mask(figure_mask(), num_positive=0, num_negative=0)
    assert prompts.points.shape == (0, 2)
    assert prompts.labels.shape == (0,)


def test_a_moved_mask_leaves_the_picture():
    mask = figure_mask(x=90)
    np.testing.assert_array_equal(moved_mask(mask, (12.4, 0.0)), figure_mask(x=102))
    np.testing.assert_array_equal(moved_mask(mask, (0.0, -9.6)), figure_mask(top=50, bottom=190))
    assert not moved_mask(mask, (200.0, 0.0)).any()


def test_logits_move_by_as_much_of_the_padded_square():
    logits = np.zeros((256, 256), np.float32)
    logits[100, 50] = 1.0
    # 1280 pixels are 256 cells: 5 pixels to the cell, in both directions
    moved = moved_logits(logits, (20.0, -10.0), frame_shape=(720, 1280))
    assert np.unravel_index(moved.argmax(), moved.shape) == (98, 54)
    assert moved.max() == 1.0
