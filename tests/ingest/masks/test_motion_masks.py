import numpy as np
from pictures import figure_mask, iou, picture, room
from test_scene import panned

from mas_ray.ingest.masks.motion import MotionMasker


def test_a_walker_before_a_turning_camera():
    masks, frames = panned()
    masker = MotionMasker(frames)
    for number in range(2, 8):
        assert iou(masker(frames[number], number).mask, masks[number]) > 0.7


def test_two_walkers_are_one_and_another():
    pairs = [(figure_mask(x=30 + 12 * i, top=10, bottom=110), figure_mask(x=150 - 12 * i, top=140)) for i in range(10)]
    frames = [picture(a | b, room(), noise_seed=i) for i, (a, b) in enumerate(pairs)]
    found = MotionMasker(frames)(frames[2], 2)
    assert iou(found.mask, pairs[2][0]) > 0.8
    assert 0.4 < found.others < 0.8


def test_a_still_picture_has_nobody():
    frame = picture(figure_mask(), room())
    assert MotionMasker([frame] * 5)(frame, 0) is None


def test_a_lone_walker_has_no_others():
    masks = [figure_mask(x=30 + 12 * i) for i in range(10)]
    frames = [picture(mask, room(), noise_seed=i) for i, mask in enumerate(masks)]
    assert MotionMasker(frames)(frames[0], 0).others == 0.0
    assert np.isclose(MotionMasker(frames)(frames[0], 0).mask.sum(), masks[0].sum(), rtol=0.2)
