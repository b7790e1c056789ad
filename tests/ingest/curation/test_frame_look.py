import cv2
import numpy as np
import pytest
from moving_scene import brighter, scene

from mas_ray.config.ingest import CurationConfig
from mas_ray.ingest.curation.frame_look import Repeats, cells, flashes, is_blank, sharpness

CONFIG = CurationConfig()


def _noisy(frame, sigma, seed):
    noise = np.random.default_rng(seed).normal(scale=sigma, size=frame.shape)
    return np.clip(frame + noise, 0, 255).astype(np.uint8)


def test_cells_keep_the_shape():
    assert cells(np.zeros((90, 160, 3), np.uint8)).shape == (22, 40)
    assert cells(np.zeros((160, 90, 3), np.uint8)).shape == (40, 22)
    assert cells(np.zeros((1, 300, 3), np.uint8)).shape == (1, 40)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_of_one_brightness_is_blank_however_noisy(level):
    assert is_blank(cells(_noisy(np.full((90, 160, 3), level), 12, 0)), CONFIG)


def test_a_scene_is_not_blank():
    assert not is_blank(cells(scene(1)[0]), CONFIG)


def _num_kept(frames):
    repeats = Repeats(CONFIG)
    return sum(not repeats.is_repeated(cells(frame)) for frame in frames)


def test_a_static_picture_is_kept_once_however_noisy():
    still = scene(1)[0]
    assert _num_kept([_noisy(still, 4, seed) for seed in range(30)]) == 1


def test_a_static_picture_that_blinks_is_kept_twice():
    still = scene(1)[0]
    assert _num_kept([brighter(still, 60) if i % 2 else still for i in range(30)]) == 2


def test_movement_is_kept():
    assert _num_kept(scene(60)) == 60


def test_a_slow_movement_is_kept_now_and_then():
    """Compared with what was kept, not with the frame before: small steps add up."""
    assert 5 < _num_kept(scene(3000)[:600]) < 300


def test_flashes_stand_out_and_a_light_that_stays_on_does_not():
    brightness = np.full(40, 90, np.float32)
    brightness[25:] += 60
    brightness[[10, 11]] += 80
    assert np.flatnonzero(flashes(brightness, CONFIG)).tolist() == [10, 11]


def test_darkness_is_no_flash_and_few_frames_are_no_error():
    assert not flashes(np.array([90, 10, 90], np.float32), CONFIG).any()
    assert not flashes(np.zeros(0, np.float32), CONFIG).any()


def _person(size=240):
    rng = np.random.default_rng(0)
    image = np.full((size, size, 3), 120, np.uint8)
    mask = np.zeros((size, size), bool)
    mask[size // 8 : -size // 8, size // 3 : -size // 3] = True
    coarse = rng.integers(0, 255, (size // 8, size // 8, 3), dtype=np.uint8)
    texture = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_NEAREST)
    image[mask] = texture[mask]
    return image, mask


def test_blur_lowers_sharpness_and_light_does_not():
    image, mask = _person()
    sharp = sharpness(image, mask)
    blurred = sharpness(cv2.GaussianBlur(image, (0, 0), 3), mask)
    dim = sharpness((image * 0.4).astype(np.uint8), mask)
    assert blurred < 0.1 * sharp
    assert dim == pytest.approx(sharp, rel=0.1)


def test_only_the_person_counts():
    image, mask = _person()
    around = cv2.GaussianBlur(image, (0, 0), 3)
    around[~mask] = np.random.default_rng(1).integers(0, 255, around.shape, dtype=np.uint8)[~mask]
    inner = cv2.erode(mask.astype(np.uint8), np.ones((13, 13), np.uint8)).astype(bool)
    assert sharpness(around, inner) < 0.1 * sharpness(image, inner)


def test_a_person_of_one_colour_is_judged_by_the_outline():
    _, mask = _person()
    image = np.where(mask[..., None], 200, 60).repeat(3, axis=2).astype(np.uint8)
    assert sharpness(image, mask) > 0.1
    assert sharpness(cv2.GaussianBlur(image, (0, 0), 4), mask) < 0.1 * sharpness(image, mask)


def test_a_large_person_needs_no_finer_detail():
    image, mask = _person()
    large = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    assert sharpness(large, mask.repeat(4, axis=0).repeat(4, axis=1)) > 0.3 * sharpness(image, mask)


def test_a_person_without_contrast_is_not_sharp_and_nobody_is_an_error():
    flat = np.full((50, 50, 3), 7, np.uint8)
    assert sharpness(flat, np.ones((50, 50), bool)) == 0.0
    with pytest.raises(ValueError, match="at least one pixel"):
        sharpness(flat, np.zeros((50, 50), bool))
