import numpy as np
from pictures import figure_mask, picture, room

from mas_ray.ingest.masks.plate import change, is_static, median_plate


def _walk(step=12):
    masks = [figure_mask(x=30 + step * i) for i in range(10)]
    return masks, [picture(mask, room(), noise_seed=i) for i, mask in enumerate(masks)]


def test_static_and_moving_cameras():
    _, frames = _walk()
    assert is_static(frames)
    assert not is_static([np.roll(frame, 9 * i, axis=1) for i, frame in enumerate(frames)])


def test_a_walker_is_not_in_the_median():
    _, frames = _walk()
    assert np.abs(median_plate(frames).astype(int) - room()).max() < 12


def test_change_sees_the_figure_and_forgives_a_shadow():
    mask = figure_mask()
    evidence = change(picture(mask, room(), noise_seed=0), room())
    assert evidence[mask].mean() > 0.9
    assert evidence[~mask].mean() < 0.05
    shadow = np.where(mask[..., None], (room() * 0.85).astype(np.uint8), room())
    assert change(shadow, room())[mask].mean() < 0.2
