import cv2
import numpy as np
from pictures import figure_mask, iou, picture, room

from mas_ray.ingest.masks.graph_cut import GraphCutMasker, cut_edges
from mas_ray.ingest.masks.method import PersonMask


def test_a_coarse_border_moves_to_the_edge_and_the_seed_is_fixed():
    truth = figure_mask()
    image = picture(truth, room(), noise_seed=1)
    grown = cv2.dilate(truth.astype(np.uint8), np.ones((5, 5), np.uint8))
    blurred = cv2.GaussianBlur(grown.astype(np.float32), (0, 0), 3.0)
    cut = cut_edges(image, blurred)
    assert iou(cut, truth) > max(0.97, iou(blurred > 0.5, truth))
    cv2.setRNGSeed(99)
    np.testing.assert_array_equal(cut_edges(image, blurred), cut)


def test_what_is_far_from_the_border_is_not_touched():
    image = picture(figure_mask(), room())
    elsewhere = figure_mask(x=40)  # the image has no edge there
    cut = cut_edges(image, elsewhere.astype(np.float32))
    band = cv2.dilate(elsewhere.astype(np.uint8), np.ones((11, 11), np.uint8)).astype(bool)
    assert not (cut & ~band).any()
    assert cut[cv2.erode(elsewhere.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)].all()


def test_nothing_to_cut():
    image = room()
    assert not cut_edges(image, np.zeros(image.shape[:2], np.float32)).any()


def test_a_box_alone_gives_the_figure():
    truth = figure_mask()
    square = np.zeros_like(truth)
    square[60:201, 68:113] = True
    seed = {0: PersonMask(mask=square, score=0.5, others=0.3), 1: None}
    masker = GraphCutMasker(lambda image, frame: seed[frame])
    image = picture(truth, room(), noise_seed=1)
    found = masker(image, 0)
    assert iou(found.mask, truth) > max(0.9, iou(square, truth))
    assert (found.score, found.others) == (0.5, 0.3)
    assert masker(image, 1) is None
