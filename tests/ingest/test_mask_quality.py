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
    ],
)
def test_reasons(mask, reason):
    assert reject_reason(mask, MaskQualityConfig()) == reason


def test_a_few_border_pixels_are_forgiven():
    mask = _mask()
    mask[0, 50] = True
    assert reject_reason(mask, MaskQualityConfig()) is None
