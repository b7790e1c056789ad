import cv2
import numpy as np
from pictures import figure_mask, picture, room

from mas_ray.ingest.masks.region import Region
from mas_ray.ingest.masks.scene import Scene

SIZE = 120
WHOLE = Region(left=0.0, top=0.0, side=240.0)


def street(seed=3):
    """A wide scene with detail to register by."""
    detail = np.random.default_rng(seed).integers(-30, 30, (50, 84)).astype(np.float32)
    grey = cv2.resize(detail, (500, 300), interpolation=cv2.INTER_CUBIC)[..., None]
    return np.clip(room(300, 500, seed) + grey, 0, 255).astype(np.uint8)


def panned(num=10):
    """A camera that turns while a figure walks ahead of it."""
    scene = street()
    masks = [figure_mask(x=35 + 12 * i) for i in range(num)]
    views = [scene[20:260, 8 * i : 8 * i + 180] for i in range(num)]
    return masks, [picture(mask, view, noise_seed=i) for i, (mask, view) in enumerate(zip(masks, views, strict=True))]


def _small(mask):
    square = np.zeros((240, 240), np.uint8)
    square[:, :180] = mask
    return cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_AREA) > 0


def test_a_walker_before_a_turning_camera():
    masks, frames = panned()
    scene = Scene(frames)
    for number, mask in enumerate(masks):
        scene.forget(number, mask)
    for frame, mask in list(zip(frames, masks, strict=True))[2:8]:
        change = scene.under(frame).change(WHOLE, SIZE)
        person = _small(mask)
        assert change.changed[person & change.known].mean() > 0.8
        assert change.changed[~person & change.known].mean() < 0.1
        assert change.known[:, :90].mean() > 0.7


def test_what_one_hides_all_the_time_is_unknown():
    masks = [figure_mask(x=90 + i) for i in range(10)]
    frames = [picture(mask, room(), noise_seed=i) for i, mask in enumerate(masks)]
    scene = Scene(frames)
    for number, mask in enumerate(masks):
        scene.forget(number, mask)
    change = scene.under(frames[5]).change(WHOLE, SIZE)
    hidden = np.logical_and.reduce([_small(mask) for mask in masks])
    assert not change.known[cv2.erode(hidden.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0].any()
    assert (change.or_unknown()[~change.known] == 1).all()
    everybody = np.logical_or.reduce([_small(mask) for mask in masks])
    assert change.known[:, :90][~everybody[:, :90]].mean() > 0.95


def test_another_place_lies_on_no_scene():
    _, frames = panned()
    assert Scene(frames).under(street(seed=9)[20:260, 100:280]) is None
    assert Scene(frames).under(np.zeros_like(frames[0])) is None


def test_same_frames_same_change_whatever_was_drawn_before():
    _, frames = panned()
    found = []
    for seed in range(2):
        cv2.setRNGSeed(seed)
        found.append(Scene(frames).under(frames[4]).change(WHOLE, SIZE).changed)
    np.testing.assert_array_equal(found[0], found[1])
