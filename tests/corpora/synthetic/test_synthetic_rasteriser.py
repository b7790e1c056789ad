from __future__ import annotations

import numpy as np
import pytest

from mas_ray.corpora.synthetic.rasteriser import RoundCones, draw, pixel_rays
from mas_ray.corpora.take import Calibration

CAMERA = Calibration(
    width_px=96,
    height_px=80,
    K=np.array([[90.0, 0.0, 46.3], [0.0, 95.0, 40.8], [0.0, 0.0, 1.0]]),
    distortion=np.zeros(0),
    R=np.eye(3),
    t_mm=np.zeros(3),
)
RAYS = pixel_rays(CAMERA)
BACKGROUND = np.full((80, 96, 3), 7, np.uint8)


def _cones(*rows: tuple) -> RoundCones:
    start, end, start_radius, end_radius, rgb = zip(*rows, strict=True)
    return RoundCones(
        start_mm=np.array(start, float),
        end_mm=np.array(end, float),
        start_radius_mm=np.array(start_radius, float),
        end_radius_mm=np.array(end_radius, float),
        rgb=np.array(rgb, float),
    )


def _drawn(cones: RoundCones, light: tuple[float, float, float] = (0.0, 0.0, -1.0)):
    return draw(cones, RAYS, K=CAMERA.K, light=np.array(light), background=BACKGROUND)


def _spheres_along(start: tuple, end: tuple, radii: tuple[float, float], num: int = 400) -> RoundCones:
    """The same solid as a string of beads."""
    share = np.linspace(0, 1, num)[:, None]
    centres = (1 - share) * np.array(start, float) + share * np.array(end, float)
    radius = (1 - share[:, 0]) * radii[0] + share[:, 0] * radii[1]
    return RoundCones(
        start_mm=centres, end_mm=centres, start_radius_mm=radius, end_radius_mm=radius, rgb=np.ones((num, 3))
    )


def test_pixel_rays_project_back_to_pixel_centres():
    np.testing.assert_allclose(np.linalg.norm(RAYS, axis=-1), 1.0)
    pixel = RAYS[13, 71] @ CAMERA.K.T
    np.testing.assert_allclose(pixel[:2] / pixel[2], [71, 13])


def test_a_spheres_mask_is_its_cone_of_sight():
    centre, radius = np.array([60.0, -40.0, 1000.0]), 130.0
    _, mask = _drawn(_cones((centre, centre, radius, radius, (1, 1, 1))))
    distance = np.linalg.norm(np.cross(RAYS, centre), axis=-1)
    np.testing.assert_array_equal(mask, distance < radius)


@pytest.mark.parametrize(
    ("start", "end", "radii"),
    [
        ((-200, 50, 1000), (250, -120, 1300), (90, 40)),
        ((-100, 0, 900), (-100, 200, 900), (60, 60)),
        ((30, 20, 1500), (10, 5, 700), (240, 30)),  # the narrow end towards the camera
        ((30, 20, 700), (10, 5, 1500), (80, 30)),  # the wide end
        ((0, 0, 800), (300, 40, 1600), (20, 120)),
    ],
)
def test_a_round_cone_is_drawn_as_a_string_of_spheres_is(start: tuple, end: tuple, radii: tuple[float, float]):
    image, mask = _drawn(_cones((start, end, *radii, (1, 1, 1))))
    beads_image, beads_mask = _drawn(_spheres_along(start, end, radii))
    assert 100 < mask.sum() < mask.size / 2
    assert (mask != beads_mask).mean() < 0.002
    both = mask & beads_mask
    difference = np.abs(image.astype(int) - beads_image)[both]
    assert np.quantile(difference, 0.95) <= 6


def test_the_nearer_cone_hides_the_other_whatever_the_order():
    near = ((0, 0, 900), (0, 0, 900), 50, 50, (1, 0, 0))
    far = ((0, 0, 1400), (0, 0, 1400), 200, 200, (0, 1, 0))
    one, mask = _drawn(_cones(near, far))
    other, _ = _drawn(_cones(far, near))
    np.testing.assert_array_equal(one, other)
    assert one[41, 46, 0] > 200
    assert one[41, 46, 1] == 0
    assert (one[~mask] == 7).all()


def test_the_side_towards_the_light_is_brighter():
    image, _ = _drawn(_cones(((0, 0, 1000), (0, 0, 1000), 200, 200, (1, 1, 1))), light=(0.0, -1.0, 0.0))
    column = image[:, 46, 0].astype(int)
    assert column[28] > column[41] + 30 > column[54] + 25


def test_a_cone_off_the_picture_is_not_drawn():
    _, mask = _drawn(_cones(((2000, 0, 1000), (2500, 0, 1000), 50, 50, (1, 1, 1))))
    assert not mask.any()
