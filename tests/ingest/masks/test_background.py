import numpy as np
import pytest
from pictures import figure_mask, iou, picture, room

from mas_ray.ingest.masks.background import BackgroundMasker


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("plate", ["median", "mixture", room()])
def test_a_walker_is_masked(refine, plate):
    truths = [figure_mask(x=30 + 12 * i) for i in range(10)]
    frames = [picture(mask, room(), noise_seed=i) for i, mask in enumerate(truths)]
    masker = BackgroundMasker(frames, plate, refine=refine)
    for number, (frame, truth) in enumerate(zip(frames, truths, strict=True)):
        found = masker(frame, number)
        assert iou(found.mask, truth) > 0.85
        assert 0.5 < found.score <= 1.0


def test_with_a_given_plate_nobody_needs_to_move():
    mask = figure_mask()
    frame = picture(mask, room(), noise_seed=0)
    masker = BackgroundMasker([frame] * 3, room(), refine=True)
    assert iou(masker(frame, 0).mask, mask) > 0.9


def test_an_empty_room_is_nobody():
    frames = [picture(np.zeros((240, 180), bool), room(), noise_seed=i) for i in range(5)]
    masker = BackgroundMasker(frames, "median", refine=True)
    assert masker(frames[0], 0) is None


def test_a_second_walker_counts_as_others():
    pairs = [(figure_mask(x=30 + 5 * i), figure_mask(x=80 + 8 * i, top=100)) for i in range(10)]
    frames = [picture(a | b, room(), noise_seed=i) for i, (a, b) in enumerate(pairs)]
    found = BackgroundMasker(frames, room(), refine=False)(frames[9], 9)
    assert iou(found.mask, pairs[9][0]) > 0.9
    assert 0.4 < found.others < 1.0
