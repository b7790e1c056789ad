import numpy as np
import pytest
from pictures import figure_mask, iou, picture, room

from mas_ray.config.ingest import (
    BackgroundMasks,
    ChromaKeyMasks,
    GraphCutMasks,
    MotionMasks,
    ProvidedMasks,
    SelfieMasks,
)
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
    ("config", "reason"),
    [
        (ProvidedMasks(), "no_masks"),
        (BackgroundMasks(plate="given"), "no_background"),
        (ChromaKeyMasks(), "no_key_colour"),
    ],
)
def test_a_take_without_what_the_method_needs_is_a_bad_take(config, reason):
    with pytest.raises(BadTakeError) as caught:
        create_view_masker(config, **NOTHING)
    assert caught.value.reason == reason


def test_selfie_masks_need_the_network():
    with pytest.raises(ValueError, match="selfie_model"):
        create_view_masker(SelfieMasks(), **NOTHING)


@pytest.mark.parametrize("config", [MotionMasks(), GraphCutMasks(), BackgroundMasks(plate="mixture")])
def test_methods_that_learn_from_sampled_frames(config):
    masks = [figure_mask(x=30 + 12 * i) for i in range(10)]
    frames = [picture(mask, room(), noise_seed=i) for i, mask in enumerate(masks)]
    masker = create_view_masker(config, **NOTHING | {"sample_frames": lambda num: frames})
    assert iou(masker(frames[3], 3).mask, masks[3]) > 0.8


def test_a_given_key_colour_is_used():
    key = (40, 200, 70)
    studio = np.full_like(room(), key)
    masker = create_view_masker(ChromaKeyMasks(key_rgb=key), **NOTHING)
    assert iou(masker(picture(figure_mask(), studio), 0).mask, figure_mask()) > 0.95
