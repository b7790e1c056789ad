from __future__ import annotations

import cv2
import numpy as np

from mas_ray.reporting.overlay import (
    LEFT_RGB,
    MASK_RGB,
    RIGHT_RGB,
    colour_map,
    draw_caption,
    draw_mask_outline,
    draw_skeleton,
    fit_height,
    grey_map,
    mask_in_image,
)
from mas_ray.skeleton import H36M_18

DARK = np.zeros((200, 160, 3), np.uint8)


def _keypoints() -> np.ndarray:
    """All joints in the middle but the left wrist (high) and the right wrist (low)."""
    keypoints = np.full((18, 2), (80.0, 100.0))
    keypoints[H36M_18.index("left_wrist")] = (80.0, 20.0)
    keypoints[H36M_18.index("right_wrist")] = (80.0, 180.0)
    return keypoints


def test_sides_have_their_colours():
    drawn = draw_skeleton(DARK, _keypoints(), H36M_18)
    assert np.allclose(drawn[50, 80], LEFT_RGB, atol=50)
    assert np.allclose(drawn[150, 80], RIGHT_RGB, atol=50)
    assert not DARK.any()


def test_joints_that_are_missing_or_far_away_do_no_harm():
    keypoints = _keypoints()
    keypoints[H36M_18.index("left_wrist")] = np.nan
    keypoints[H36M_18.index("right_wrist")] = (1e12, -1e12)
    drawn = draw_skeleton(DARK, keypoints, H36M_18)
    assert not drawn[50, 80].any()
    assert not draw_skeleton(DARK, np.full((18, 2), np.nan), H36M_18).any()


def test_the_mask_is_outlined_and_not_filled():
    mask = np.zeros((200, 160), bool)
    mask[40:120, 30:90] = True
    drawn = draw_mask_outline(DARK, mask)
    assert np.allclose(drawn[40, 60], MASK_RGB, atol=60)
    assert not drawn[80, 60].any()


def test_a_mask_returns_to_where_its_crop_was_cut():
    full = np.zeros((120, 160), np.uint8)
    full[30:90, 50:100] = 1
    crop_from_image = np.array([[0.5, 0.0, -10.0], [0.0, 0.5, 4.0]])
    crop = cv2.warpAffine(full, crop_from_image, (64, 64), flags=cv2.INTER_NEAREST) > 0
    back = mask_in_image(crop, crop_from_image, height=120, width=160)
    assert (back ^ full.astype(bool)).sum() <= 2 * (60 + 50)  # half a crop pixel around the edge
    assert back.sum() > 2500


def test_maps_span_black_to_bright():
    ramp = np.linspace(3.0, 9.0, 64).reshape(8, 8)
    shown = colour_map(ramp)
    assert shown[0, 0].sum() < 20
    assert shown[-1, -1].sum() > 500
    assert colour_map(np.ones((4, 4))).shape == (4, 4, 3)
    assert grey_map(np.array([[-1.0, 0.5, 2.0]]))[0, :, 0].tolist() == [0, 128, 255]


def test_fit_height_gives_even_sizes_and_never_enlarges():
    assert fit_height(np.zeros((1080, 1917, 3), np.uint8), 960).shape == (960, 1704, 3)
    assert fit_height(np.zeros((101, 75, 3), np.uint8), 960).shape == (100, 76, 3)
    image = np.zeros((100, 76, 3), np.uint8)
    assert fit_height(image, 960) is image


def test_a_caption_is_written_into_the_lower_left():
    drawn = draw_caption(DARK, "cam1  frame 7")
    assert drawn[150:, :80].any()
    assert not drawn[:150].any()
