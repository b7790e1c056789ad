import itertools

import numpy as np
import pytest

from mas_ray.ingest.masks.region import Region, around, tiles


def _gradient(height=90, width=120):
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, np.zeros_like(rows)], axis=-1).astype(np.uint8)


def test_a_crop_at_its_own_size_is_a_slice():
    crop = Region(left=20.0, top=10.0, side=40.0).crop(_gradient(), 40)
    np.testing.assert_array_equal(crop, _gradient()[10:50, 20:60])


@pytest.mark.parametrize("angle_deg", [0.0, 30.0, -50.0])
def test_paste_undoes_crop_in_the_middle(angle_deg):
    region = Region(left=20.5, top=10.25, side=64.0, angle_deg=angle_deg)
    crop = region.crop(_gradient(), 128)
    back = region.paste(crop[..., 0].astype(np.float32), 90, 120)
    np.testing.assert_allclose(back[35:50, 45:60], _gradient()[35:50, 45:60, 0], atol=1.0)


def test_seen_by_another_region_shows_the_same_place():
    region, other = Region(left=10.0, top=5.0, side=80.0, angle_deg=25.0), Region(left=25.0, top=20.0, side=40.0)
    values = region.crop(_gradient(), 160)[..., 1].astype(np.float32)
    np.testing.assert_allclose(
        region.seen_by(other, values, 40)[8:32, 8:32], other.crop(_gradient(), 40)[8:32, 8:32, 1], atol=1.5
    )


def test_around_and_scaled():
    region = around((10, 20, 29, 79), 1.5)
    assert (region.left, region.top, region.side) == (20 - 45, 50 - 45, 90)
    assert region.scaled(0.5) == Region(left=-12.5, top=2.5, side=45.0)


def test_tiles_cover_a_tall_picture():
    whole, *along = tiles(1920, 1080)
    assert whole.side == 1920
    assert along[0].top == 0
    assert along[-1].top + along[-1].side == 1920
    assert all(b.top <= a.top + a.side / 1.5 for a, b in itertools.pairwise(along))
    assert len(tiles(480, 500)) == 1
    assert len(tiles(20_000, 64)) < 40


def test_strips_are_looked_at_like_other_pictures():
    strip = np.full((3, 40_000, 3), 7, np.uint8)
    for place in (around((0, 0, 39_999, 2), 1.0), *tiles(3, 40_000)):
        assert (place.crop(strip, 64) == 7).all()
