import numpy as np

from mas_ray.ingest.masks.person import box, one_person, others_share


def _canvas():
    return np.zeros((100, 120), bool)


def test_the_largest_component_without_a_past_and_the_followed_one_with_it():
    mask = _canvas()
    mask[10:80, 10:40], mask[20:70, 80:100] = True, True
    left, right = mask.copy(), mask.copy()
    left[:, 60:], right[:, :60] = False, False
    np.testing.assert_array_equal(one_person(mask), left)
    np.testing.assert_array_equal(one_person(mask, right), right)


def test_a_past_that_nothing_overlaps_is_forgotten():
    mask, past = _canvas(), _canvas()
    mask[10:80, 10:40], past[90:99, 100:110] = True, True
    np.testing.assert_array_equal(one_person(mask, past), mask)


def test_pinholes_are_filled_gaps_are_not_and_specks_go():
    mask = _canvas()
    mask[10:90, 20:70] = True
    mask[30, 40] = False
    mask[50:70, 30:50] = False
    mask[5, 110] = True
    found = one_person(mask)
    assert found[30, 40]
    assert not found[60, 40]
    assert not found[5, 110]


def test_an_arm_behind_a_thin_gap_stays():
    mask = _canvas()
    mask[10:90, 20:50], mask[30:60, 52:62] = True, True
    assert one_person(mask)[45, 57]


def test_nobody():
    assert one_person(_canvas()) is None


def test_box_is_inclusive():
    mask = _canvas()
    mask[10:20, 30:50] = True
    assert box(mask) == (30, 10, 49, 19)


def test_others_are_large_and_apart():
    person, candidates = _canvas(), _canvas()
    person[10:60, 10:30] = True
    candidates[10:60, 25:40] = True  # touches the person
    candidates[10:60, 60:80] = True
    candidates[80:85, 100:105] = True  # a speck
    assert others_share(candidates, person) == 1.0
    assert others_share(candidates, _canvas()) == 0.0
