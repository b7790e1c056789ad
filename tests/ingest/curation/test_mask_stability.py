import cv2
import numpy as np
import pytest

from mas_ray.config.ingest import CurationConfig
from mas_ray.ingest.curation.mask_stability import MaskShape, judge_stability, overlap


def _body(frame=0, *, arms_deg=0.0, size=300):
    """A trunk with two arms that turn; it walks to the right."""
    picture = np.zeros((size, 2 * size), np.uint8)
    x, y = size // 2 + 4 * frame, size // 2
    cv2.ellipse(picture, (x, y), (size // 12, size // 4), 0, 0, 360, 1, -1)
    for side in (-1, 1):
        end = (
            x + side * round(size / 4 * np.cos(np.radians(arms_deg))),
            y - round(size / 4 * np.sin(np.radians(arms_deg))),
        )
        cv2.line(picture, (x, y - size // 8), end, 1, size // 25)
    return picture.astype(bool)


def _judge(masks):
    shapes = [(i, None if mask is None else MaskShape.of(mask)) for i, mask in enumerate(masks)]
    judged = list(judge_stability(shapes, CurationConfig()))
    assert [item.item for item in judged] == list(range(len(masks)))
    return [item.item for item in judged if not item.is_stable]


def test_overlap_forgets_place_and_not_size():
    assert overlap(MaskShape.of(_body(0)), MaskShape.of(_body(20))) == pytest.approx(1.0, abs=0.02)
    whole = _body()
    large = cv2.resize(whole.astype(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST).astype(bool)
    assert overlap(MaskShape.of(whole), MaskShape.of(large)) == pytest.approx(0.25, abs=0.04)
    assert overlap(MaskShape.of(large), MaskShape.of(large)) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("step_deg", [2, 15])
def test_a_moving_body_is_stable(step_deg):
    assert _judge([_body(i, arms_deg=i * step_deg) for i in range(20)]) == []


def _halved(mask):
    half = mask.copy()
    half[: mask.shape[0] // 2] = False
    return half


def _with_chair(mask):
    more = mask.copy()
    more[180:260, 60:240] = True
    return more


@pytest.mark.parametrize("spoil", [_halved, _with_chair])
@pytest.mark.parametrize("place", [0, 7, 14])
def test_one_that_jumps_away_and_back_is_unstable_and_its_neighbours_are_not(spoil, place):
    masks = [_body(i, arms_deg=3 * i) for i in range(15)]
    masks[place] = spoil(masks[place])
    expected = [place] if place == 7 else _judge(masks)
    assert _judge(masks) == expected
    assert set(_judge(masks)) <= {place}


def test_a_jump_that_lasts_is_no_fault_of_one():
    bodies = [_body(i) for i in range(12)]
    assert _judge([*bodies[:6], *map(_with_chair, bodies[6:])]) == []


def test_masks_that_never_agree_are_all_unstable():
    rng = np.random.default_rng(0)
    masks = []
    for i in range(8):
        mask = np.zeros((300, 300), bool)
        long, short = rng.integers(150, 250), rng.integers(5, 15)
        mask[: (long if i % 2 else short), : (short if i % 2 else long)] = True
        masks.append(mask)
    assert _judge(masks) == list(range(8))


def test_frames_without_a_mask_are_passed_on_in_order():
    masks = [None, _body(0), None, None, _halved(_body(1)), None, _body(2), None]
    assert _judge(masks) == [4]
    assert _judge([None, None]) == []
    assert _judge([]) == []


def test_it_runs_one_mask_ahead():
    taken = []

    def shapes():
        for i in range(10):
            taken.append(i)
            yield i, MaskShape.of(_body(i))

    for judged in judge_stability(shapes(), CurationConfig()):
        assert len(taken) <= judged.item + 2
