from pathlib import Path

import cv2
import numpy as np
import pytest
from pictures import figure_mask, iou, picture, room
from test_scene import panned

from mas_ray import assets
from mas_ray.ingest.masks.selfie import SelfieMasker, SelfieNetwork


class RedNetwork:
    """Stands in for the network: it is as sure of "person" as a pixel is red, and blurs."""

    def __call__(self, image_rgb):
        red = image_rgb[..., 0].astype(np.float32) - image_rgb[..., 1:].max(axis=-1)
        return cv2.GaussianBlur(np.clip((red - 70.0) / 60.0, 0.0, 1.0), (0, 0), 3.0)


def _clip(num=12):
    masks = [figure_mask(x=40 + 8 * i) for i in range(num)]
    return masks, [picture(mask, room(), noise_seed=i) for i, mask in enumerate(masks)]


def test_it_finds_follows_and_sharpens():
    truths, frames = _clip()
    masker = SelfieMasker(RedNetwork(), frames, refine=True)
    for number, (frame, truth) in enumerate(zip(frames, truths, strict=True)):
        found = masker(frame, number)
        assert found is not None
        assert iou(found.mask, truth) > 0.9
        assert 0.5 < found.score <= 1.0


def test_of_two_people_the_one_who_moves():
    truths, frames = _clip()
    bystander = figure_mask(x=150, top=30, bottom=190)
    frames = [picture(bystander, frame) for frame in frames[:6]]
    masker = SelfieMasker(RedNetwork(), frames, refine=False)
    for number, frame in enumerate(frames):
        found = masker(frame, number)
        assert iou(found.mask, truths[number]) > iou(found.mask, bystander)


def test_a_second_person_is_told_of():
    _, frames = _clip(6)
    bystander = figure_mask(x=150, top=30, bottom=190)
    alone = SelfieMasker(RedNetwork(), frames, refine=False)(frames[0], 0)
    crowd = [picture(bystander, frame) for frame in frames]
    accompanied = SelfieMasker(RedNetwork(), crowd, refine=False)(crowd[0], 0)
    assert alone.others == 0.0
    assert 0.8 < accompanied.others < 1.6


def test_a_walker_before_a_turning_camera():
    truths, frames = panned()
    masker = SelfieMasker(RedNetwork(), frames, refine=True)
    for number, (frame, truth) in enumerate(zip(frames, truths, strict=True)):
        assert iou(masker(frame, number).mask, truth) > 0.7


def test_nobody_and_then_somebody():
    _, frames = _clip()
    masker = SelfieMasker(RedNetwork(), [], refine=True)
    assert masker(np.full_like(room(), 128), 0) is None
    assert masker(frames[3], 1) is not None


def test_same_frames_same_masks():
    _, frames = _clip(4)
    runs = []
    for seed in range(2):
        cv2.setRNGSeed(seed)
        masker = SelfieMasker(RedNetwork(), frames, refine=True)
        runs.append([masker(frame, i).mask for i, frame in enumerate(frames)])
    np.testing.assert_array_equal(runs[0], runs[1])


@pytest.mark.network
def test_the_real_network_says_nobody_of_an_empty_room(tmp_path):
    asset = assets.SELFIE_SEGMENTATION
    try:
        folder = assets.fetch(asset)
    except assets.AssetUnavailableError as error:
        pytest.skip(f"the package index cannot be reached: {error}")
    network = SelfieNetwork(Path(folder) / asset.members[0].name)
    probability = network(cv2.resize(room(), (256, 256)))
    assert probability.shape == (256, 256)
    assert probability.mean() < 0.5
