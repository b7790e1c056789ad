import cv2
import numpy as np
import pytest

from mas_ray.ingest.crop import crop_from_image, warp_image, warp_mask


def box_mask(top, bottom, left, right, shape=(200, 300)):
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def test_square_is_centred_on_the_box_and_as_wide_as_told():
    affine = crop_from_image(box_mask(50, 130, 100, 120), size_px=64, margin=1.25)
    edges = affine @ np.array([[109.5 - 50, 89.5 - 50, 1], [109.5 + 50, 89.5 + 50, 1]]).T  # 1.25 x 80 px
    np.testing.assert_allclose(edges.T, [[-0.5, -0.5], [63.5, 63.5]], atol=1e-9)


def test_empty_mask():
    with pytest.raises(ValueError, match="mask"):
        crop_from_image(np.zeros((4, 4), bool), size_px=8, margin=1.2)


@pytest.mark.parametrize("size_px", [160, 80, 40, 37, 20])
def test_a_linear_ramp_stays_where_the_affine_says(size_px):
    yy, xx = np.mgrid[:160, :160].astype(float)
    image = np.stack([1.5 * xx, 1.5 * yy, np.full_like(xx, 77)], axis=2).astype(np.uint8)
    affine = crop_from_image(np.ones((160, 160), bool), size_px=size_px, margin=0.8)
    crop = warp_image(image, affine, size_px).astype(float)
    inverse = cv2.invertAffineTransform(affine)
    v, u = np.mgrid[:size_px, :size_px]
    expected_px = np.stack([inverse[0, 0] * u + inverse[0, 2], inverse[1, 1] * v + inverse[1, 2]], axis=2)
    errors_px = crop[..., :2] / 1.5 - expected_px
    assert np.abs(errors_px).max() < 1.1  # grey values are rounded twice
    assert np.abs(errors_px.mean(axis=(0, 1))).max() < 0.4


def test_whole_factor_equals_box_average():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (128, 128, 3), np.uint8)
    affine = crop_from_image(np.ones((128, 128), bool), size_px=32, margin=1.0)
    boxes = image.reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(warp_image(image, affine, 32), boxes, atol=1)


def test_shrinking_does_not_alias():
    stripes = np.zeros((200, 200, 3), np.uint8)
    stripes[:, ::2] = 255
    affine = crop_from_image(np.ones((200, 200), bool), size_px=61, margin=1.0)
    crop = warp_image(stripes, affine, 61)[4:-4, 4:-4].astype(float)
    exact = cv2.resize(stripes, (61, 61), interpolation=cv2.INTER_AREA)[4:-4, 4:-4].astype(float)
    assert crop.std() < 1.2 * exact.std() < 25
    assert abs(crop.mean() - 127.5) < 3
    naive = cv2.warpAffine(stripes, affine, (61, 61))[4:-4, 4:-4].astype(float)
    assert naive.std() > 50  # what this guards against


def test_mask_and_image_agree_and_outside_is_black():
    mask = box_mask(0, 60, 0, 20)
    image = np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)
    affine = crop_from_image(mask, size_px=64, margin=1.5)
    cropped = warp_mask(mask, affine, 64)
    np.testing.assert_array_equal(cropped, warp_image(image, affine, 64)[..., 0] >= 128)
    assert not warp_image(np.full_like(image, 255), affine, 64)[:5].any()
    expected_area = mask.sum() * (64 / 90) ** 2
    assert abs(cropped.sum() - expected_area) < 0.06 * expected_area


def test_growing_keeps_the_centroid():
    mask = box_mask(20, 30, 40, 46)
    affine = crop_from_image(mask, size_px=128, margin=1.2)
    rows, columns = np.nonzero(warp_mask(mask, affine, 128))
    np.testing.assert_allclose([rows.mean(), columns.mean()], 63.5, atol=0.6)
