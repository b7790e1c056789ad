import cv2
import numpy as np
import pytest

from mas_ray.config.ingest import MaskQualityConfig
from mas_ray.ingest.mask_quality import reject_reason


def _mask(top=10, bottom=60, left=40, right=60):
    mask = np.zeros((100, 100), bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (_mask(), None),
        (np.zeros((100, 100), bool), "empty"),
        (_mask(bottom=11, right=50), "too_small"),
        (np.ones((100, 100), bool), "too_large"),
        (_mask(bottom=40), "too_short"),
        (_mask(top=0, bottom=40), "touches_border"),
        (_mask(left=0, right=20), "touches_border"),
        (_mask(top=50, bottom=100), "touches_border"),
        (_mask(left=80, right=100), "touches_border"),
    ],
)
def test_reasons(mask, reason):
    assert reject_reason(mask, MaskQualityConfig()) == reason


def test_a_border_pixel_is_forgiven():
    mask = _mask()
    mask[0, 50] = True
    assert reject_reason(mask, MaskQualityConfig()) is None


def test_a_foot_cut_off_a_large_person_is_seen():
    """The contact is less than a thousandth of the person's area."""
    mask = np.zeros((1080, 1920), bool)
    mask[200:1000, 700:1000] = True
    mask[1000:1080, 700:760] = True
    assert reject_reason(mask, MaskQualityConfig()) == "touches_border"


def test_other_people():
    assert reject_reason(_mask(), MaskQualityConfig(), others=0.29) is None
    assert reject_reason(_mask(), MaskQualityConfig(), others=0.31) == "several_people"


def test_a_blurred_person():
    mask = np.zeros((256, 256), bool)
    mask[20:230, 80:170] = True
    image = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    image = image.repeat(16, axis=0).repeat(16, axis=1)
    assert reject_reason(mask, MaskQualityConfig(), image_rgb=image) is None
    assert reject_reason(mask, MaskQualityConfig(), image_rgb=cv2.GaussianBlur(image, (0, 0), 4)) == "blurred"
