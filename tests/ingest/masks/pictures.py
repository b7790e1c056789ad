"""A textured room and a figure in it, for mask tests."""

import cv2
import numpy as np


def room(height=240, width=180, seed=0):
    """A smooth random background, RGB."""
    coarse = np.random.default_rng(seed).integers(60, 200, (8, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def figure_mask(height=240, width=180, x=90, top=60, bottom=200):
    """A body: an upright ellipse."""
    mask = np.zeros((height, width), np.uint8)
    centre = (x, (top + bottom) // 2)
    cv2.ellipse(mask, centre, (22, (bottom - top) // 2), 0, 0, 360, 1, -1)
    return mask.astype(bool)


def picture(mask, background, colour=(220, 30, 40), noise_seed=None):
    """The figure in the room, with a little sensor noise if asked."""
    image = np.where(mask[..., None], np.array(colour, np.uint8), background)
    if noise_seed is None:
        return image
    noise = np.random.default_rng(noise_seed).normal(scale=2.0, size=image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def iou(a, b):
    """Intersection over union."""
    return (a & b).sum() / (a | b).sum()
