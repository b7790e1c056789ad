import numpy as np
import pytest

from mas_ray.shards.images import (
    decode_distances,
    decode_image,
    decode_mask,
    encode_distances,
    encode_image,
    encode_mask,
)


def ellipse(height, width):
    yy, xx = np.mgrid[:height, :width]
    return ((yy / height - 0.5) / 0.4) ** 2 + ((xx / width - 0.5) / 0.2) ** 2 < 1


@pytest.mark.parametrize(("height", "width"), [(256, 256), (13, 7), (1, 1), (9, 64)])
def test_mask_comes_back(height, width):
    for mask in (ellipse(height, width), np.zeros((height, width), bool), np.ones((height, width), bool)):
        back = decode_mask(encode_mask(mask), height, width)
        assert back.dtype == bool
        np.testing.assert_array_equal(back, mask)


def test_decoded_mask_is_the_callers_own():
    data = encode_mask(ellipse(16, 16))
    decode_mask(data, 16, 16)[:] = True
    np.testing.assert_array_equal(decode_mask(data, 16, 16), ellipse(16, 16))


def test_mask_of_a_ragged_person_takes_less_than_a_kilobyte():
    rows = np.random.default_rng(0).integers(-2, 3, size=(256, 1))
    mask = np.take_along_axis(ellipse(256, 256), (np.arange(256) + rows) % 256, axis=1)
    assert mask.any()
    assert len(encode_mask(mask)) <= 1024


def test_image_keeps_its_channels():
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, :16] = (200, 60, 20)
    image[:, 16:] = (20, 60, 200)
    back = decode_image(encode_image(image))
    assert back.dtype == np.uint8
    np.testing.assert_allclose(back[:, :12].mean((0, 1)), (200, 60, 20), atol=4)
    np.testing.assert_allclose(back[:, 20:].mean((0, 1)), (20, 60, 200), atol=4)


def test_not_an_image():
    with pytest.raises(ValueError, match="JPEG"):
        decode_image(b"text")


def test_distances_come_back_within_half_a_level():
    distances = np.random.default_rng(0).random((2, 16, 16), dtype=np.float32)
    back = decode_distances(encode_distances(distances), 16)
    assert back.dtype == np.float32
    assert np.abs(back - distances).max() <= 0.5 / 255 + 1e-6
