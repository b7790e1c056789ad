import subprocess
import sys

import cv2
import numpy as np
import pytest
import skfmm
from scipy.ndimage import distance_transform_edt

from mas_ray.config.cascade import GeodesicConfig
from mas_ray.ingest.geodesic import distance_to_mask, distances_on_map, geodesic_distances

SIZE = 128


def empty():
    return np.zeros((SIZE, SIZE), bool)


def radius(centre=(64, 64)):
    yy, xx = np.mgrid[:SIZE, :SIZE]
    return np.hypot(yy - centre[0], xx - centre[1])


def single_pixel():
    mask = empty()
    mask[60, 60] = True
    return mask


def two_components():
    mask = empty()
    mask[20:60, 20:40] = True
    mask[100:104, 100:104] = True
    return mask


def u_shape():
    mask = empty()
    mask[20:100, 20:100] = True
    mask[20:80, 44:76] = False
    return mask


def lone_seed():
    """The pixel nearest the centroid is a component of its own."""
    mask = single_pixel()
    mask[20:30, 20:30] = mask[91:101, 91:101] = True
    return mask


def blobs(seed):
    """Anything from specks to a frame with holes."""
    rng = np.random.default_rng(seed)
    nodes = int(rng.integers(3, 24))
    coarse = rng.normal(size=(nodes, nodes)).astype(np.float32)
    mask = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) > rng.uniform(-0.6, 1.2)
    return mask if mask.any() else single_pixel()


def centre(mask):
    rows, columns = np.nonzero(mask)
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return rows[nearest], columns[nearest]


CORNERS = {
    "full": ~empty(),
    "one_pixel": single_pixel(),
    "ring": (radius() < 40) & (radius() > 30),
    "two_components": two_components(),
    "hole": (radius() < 40) & (radius() > 6),
    "crescent": (radius() < 40) & (radius((64, 84)) > 36),
    "u_shape": u_shape(),
    "lone_seed": lone_seed(),
}


@pytest.mark.parametrize("name", CORNERS)
def test_corner_cases_are_finite_and_bounded(name):
    mask = CORNERS[name]
    foreground, background = geodesic_distances(mask)
    for distance in (foreground, background):
        assert np.isfinite(distance).all()
        assert distance.min() == 0
        assert distance.max() <= 1
    assert not foreground[~mask].any()
    assert not background[mask].any()
    assert (foreground.max() == 1) == (name != "one_pixel")
    assert (background.max() == 1) == (name != "full")


def test_empty_mask():
    with pytest.raises(ValueError, match="mask"):
        geodesic_distances(empty())


def test_corner_cases_at_other_sizes():
    for mask in CORNERS.values():
        for small in (mask[::2, ::2], mask[20:101, 20:101]):
            distances = distances_on_map(small)
            assert distances.shape == (2, *small.shape)
            assert np.isfinite(distances).all()


def test_distance_to_mask_is_exact_to_the_bit():
    masks = [
        *map(blobs, range(300)),
        *[np.random.default_rng(0).random((SIZE, SIZE)) < 1e-4 * 1.2**i for i in range(40)],
    ]
    far = np.zeros((256, 256), bool)
    far[0, 0] = True
    for mask in (*masks, far, far[:7]):
        if mask.any():
            assert distance_to_mask(mask).tobytes() == distance_transform_edt(~mask).tobytes()


def test_marching_in_the_box_changes_no_bit():
    for mask in (*map(blobs, range(100)), *CORNERS.values()):
        start = np.ma.MaskedArray(np.ones(mask.shape), ~mask)
        start[centre(mask)] = 0.0
        if mask.sum() == 1:
            continue
        march = skfmm.distance(start)
        largest = march.max() or 1.0
        expected = np.where(mask, np.ma.filled(march / largest, 1.0), 0.0).astype(np.float32)
        assert distances_on_map(mask)[0].tobytes() == expected.tobytes()


def test_foreground_agrees_with_a_march_on_a_magnified_copy():
    """Single pixels of thin, bent passages may be farther off; no shape is on the whole."""
    for mask in (CORNERS["crescent"], CORNERS["u_shape"], CORNERS["ring"], blobs(6)):
        row, column = centre(mask)
        large = mask.repeat(8, 0).repeat(8, 1)
        y, x = np.ogrid[: 8 * SIZE, : 8 * SIZE]
        march = skfmm.distance(np.ma.MaskedArray(np.hypot(y - 8 * row - 3.5, x - 8 * column - 3.5) - 3, ~large)) + 3
        middle = np.ma.filled(march, np.nan).reshape(SIZE, 8, SIZE, 8)[:, 3:5, :, 3:5].mean((1, 3))
        error = np.abs(distances_on_map(mask)[0] - middle / np.nanmax(middle))
        assert np.nanmean(error) < 0.01
        assert np.nanquantile(error, 0.9) < 0.02


def test_disc_is_euclidean():
    disc = radius() < 50
    foreground, background = geodesic_distances(disc)
    expected = radius() / radius()[disc].max()
    assert np.abs(foreground - expected)[disc].max() < 0.02
    outside = radius() - 50
    np.testing.assert_allclose(background[~disc], (outside / outside.max())[~disc], atol=0.03)


def test_u_shape_goes_around():
    """Path distance is at least the Euclidean one, and far more where the body bends."""
    mask = u_shape()
    rows, columns = np.nonzero(mask)
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    seed = (rows[nearest], columns[nearest])
    foreground = geodesic_distances(mask)[0]
    arms = [(20, 43), (20, 76)]
    straight = np.array([np.hypot(y - seed[0], x - seed[1]) for y, x in arms])
    along = np.array([foreground[arm] for arm in arms])
    scale = np.hypot(*(np.array((99, 20)) - seed)) / foreground[99, 20]  # a corner in plain sight of the seed
    assert (along * scale > 1.02 * straight).all()
    assert foreground[seed] == 0


def test_centroid_outside_the_mask_still_gives_a_map():
    ring = CORNERS["ring"]
    foreground = geodesic_distances(ring)[0]
    opposite = foreground[ring].max()
    assert opposite == 1
    assert (foreground[ring] == 0).sum() == 1
    assert foreground[ring].std() > 0.2


def test_unreached_component_is_farthest():
    foreground = geodesic_distances(two_components())[0]
    np.testing.assert_array_equal(foreground[100:104, 100:104], 1)
    assert foreground[40, 30] < 0.3


def test_hole_counts_as_outside():
    background = geodesic_distances(CORNERS["hole"])[1]
    assert 0 < background[64, 64] < 0.2


def test_larger_and_smaller_masks_give_the_same_map():
    fine = np.kron(CORNERS["ring"], np.ones((2, 2), bool))
    np.testing.assert_array_equal(geodesic_distances(fine), geodesic_distances(CORNERS["ring"]))
    assert geodesic_distances(np.ones((64, 64), bool)).shape == (2, SIZE, SIZE)


def test_one_pixel_of_a_large_mask_survives_the_shrinking():
    mask = np.zeros((512, 512), bool)
    mask[100, 200] = True
    foreground, background = geodesic_distances(mask)
    assert not foreground.any()
    assert background[25, 50] == 0


def test_default_weights_span_the_known_range():
    """exp(2 d) + 1 inside plus 1 from outside, and the outside's own 1 to 2 plus exp(0) + 1."""
    config = GeodesicConfig()
    foreground, background = geodesic_distances(CORNERS["u_shape"])
    inside = np.exp(config.foreground_rate * foreground) + config.foreground_offset
    weight = inside + config.background_slope * background + config.background_offset
    mask = CORNERS["u_shape"]
    np.testing.assert_allclose([weight[mask].min(), weight[mask].max()], [3.0, np.exp(2) + 2], atol=1e-5)
    np.testing.assert_allclose(weight[~mask].max(), 4.0, atol=1e-5)


_DIGEST = """
import hashlib, sys
import cv2, numpy as np
from mas_ray.ingest.geodesic import geodesic_distances
cv2.setNumThreads(int(sys.argv[1]))
digest = hashlib.sha256()
for seed in range(60):
    coarse = np.random.default_rng(seed).normal(size=(9, 9)).astype(np.float32)
    blobs = cv2.resize(coarse, (256, 256), interpolation=cv2.INTER_CUBIC) > 0.4
    digest.update(geodesic_distances(blobs).tobytes())
print(digest.hexdigest())
"""


def test_every_process_gives_the_same_bytes():
    """Rows must repeat, or a shard that is made again is another one."""
    runs = [
        subprocess.run([sys.executable, "-c", _DIGEST, threads], capture_output=True, text=True, check=True).stdout
        for threads in ("1", "1", "2")
    ]
    assert len(set(runs)) == 1
