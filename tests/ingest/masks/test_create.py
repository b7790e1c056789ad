import numpy as np
import pytest
from pictures import figure_mask, picture, room

from mas_ray.config.ingest import BackgroundMasks, ProvidedMasks, SelfieMasks
from mas_ray.ingest.masks.create import create_view_masker
from mas_ray.ingest.rejects import BadTakeError

NOTHING = {"selfie_model": None, "sample_frames": lambda num: [room()] * num, "background": None, "provided": None}


def test_provided_masks_are_taken_as_they_are():
    mask = figure_mask()
    masks = {0: mask, 1: np.zeros_like(mask), 2: None}
    masker = create_view_masker(ProvidedMasks(), **NOTHING | {"provided": masks.get})
    found = masker(room(), 0)
    np.testing.assert_array_equal(found.mask, mask)
    assert found.score == 1.0
    assert masker(room(), 1) is None
    assert masker(room(), 2) is None


def test_background_with_a_given_plate():
    masker = create_view_masker(BackgroundMasks(plate="given"), **NOTHING | {"background": room()})
    assert masker(picture(figure_mask(), room()), 0) is not None


@pytest.mark.parametrize(
    ("config", "reason"), [(ProvidedMasks(), "no_masks"), (BackgroundMasks(plate="given"), "no_background")]
)
def test_a_take_without_what_the_method_needs_is_a_bad_take(config, reason):
    with pytest.raises(BadTakeError) as caught:
        create_view_masker(config, **NOTHING)
    assert caught.value.reason == reason


def test_selfie_masks_need_the_network():
    with pytest.raises(ValueError, match="selfie_model"):
        create_view_masker(SelfieMasks(), **NOTHING)
