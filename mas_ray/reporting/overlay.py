"""Drawing on images: skeletons, mask outlines, weight maps, captions. Images are RGB and never changed in place."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from mas_ray.skeleton import Skeleton

Image = UInt8[np.ndarray, "height width 3"]

LEFT_RGB = (255, 140, 50)
RIGHT_RGB = (60, 160, 255)
CENTRE_RGB = (245, 245, 245)
MASK_RGB = (60, 230, 120)
_SHADOW_RGB = (20, 20, 20)
_SUBPIXEL_BITS = 4


def draw_skeleton(
    image: Image,
    keypoints_px: Float[np.ndarray, "joints 2"],
    skeleton: Skeleton,
    *,
    rgb: tuple[int, int, int] | None = None,
) -> Image:
    """Draw the kinematic tree: left orange, right blue, the rest white, or everything in one colour.

    Joints that are not finite are left out.
    """
    colours = [rgb or side_colour(joint) for joint in skeleton.joints]
    canvas = image.copy()
    thickness = max(1, round(max(image.shape[:2]) / 320))
    visible = np.asarray(np.isfinite(keypoints_px).all(axis=-1)).tolist()
    bones = [(j, p) for j, p in enumerate(skeleton.parents) if p >= 0 and visible[j] and visible[p]]
    points = [_subpixel(keypoint) if ok else (0, 0) for keypoint, ok in zip(keypoints_px, visible, strict=True)]
    for joint, parent in bones:
        _line(canvas, points[joint], points[parent], _SHADOW_RGB, thickness + 2)
    for joint, parent in bones:
        _line(canvas, points[joint], points[parent], colours[joint], thickness)
    for joint in range(skeleton.num_joints):
        if visible[joint]:
            radius = (thickness + 1) << _SUBPIXEL_BITS
            cv2.circle(canvas, points[joint], radius, colours[joint], -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    return canvas


def draw_mask_outline(image: Image, mask: Bool[np.ndarray, "height width"]) -> Image:
    """Draw the outline of a mask of the image's size."""
    canvas = image.copy()
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, MASK_RGB, max(1, round(max(image.shape[:2]) / 640)), cv2.LINE_AA)
    return canvas


def mask_in_image(
    crop_mask: Bool[np.ndarray, "rows columns"], crop_from_image: Float[np.ndarray, "2 3"], *, height: int, width: int
) -> Bool[np.ndarray, "height width"]:
    """A crop's mask laid back onto the image it was cut from."""
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(crop_mask.astype(np.uint8), crop_from_image, (width, height), flags=flags) > 0


def draw_caption(image: Image, text: str) -> Image:
    """Write a line into the bottom left corner, readable on any ground."""
    canvas = image.copy()
    scale = max(0.4, image.shape[0] / 900)
    origin = (round(12 * scale), image.shape[0] - round(14 * scale))
    for colour, thickness in ((_SHADOW_RGB, round(4 * scale) + 1), (CENTRE_RGB, max(1, round(1.5 * scale)))):
        cv2.putText(canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)
    return canvas


def colour_map(values: Float[np.ndarray, "height width"]) -> Image:
    """Show a map in colours from its smallest value (dark) to its largest (bright)."""
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / max(high - low, 1e-12)
    bgr = cv2.applyColorMap((scaled * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def grey_map(values: Float[np.ndarray, "height width"]) -> Image:
    """Show a map of values in [0, 1] in shades of grey."""
    grey = (np.clip(values, 0.0, 1.0) * 255).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def fit_height(image: Image, max_height_px: int) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """Shrink an image to at most this height, keeping its shape, to even sizes (video codecs need them)."""
    scale = min(1.0, max_height_px / image.shape[0])
    height, width = (2 * max(1, round(side * scale / 2)) for side in image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def side_colour(joint: str) -> tuple[int, int, int]:
    """The colour of a joint's side of the body."""
    if joint.startswith("left_"):
        return LEFT_RGB
    return RIGHT_RGB if joint.startswith("right_") else CENTRE_RGB


def _line(canvas: Image, start: tuple[int, int], end: tuple[int, int], rgb: tuple[int, int, int], px: int) -> None:
    cv2.line(canvas, start, end, rgb, px, cv2.LINE_AA, _SUBPIXEL_BITS)


def _subpixel(point: Float[np.ndarray, " 2"]) -> tuple[int, int]:
    """OpenCV's fixed-point form of a position; far outside the image it is clamped (its integers are 32 bit)."""
    x, y = (np.clip(point, -1e5, 1e5) * (1 << _SUBPIXEL_BITS)).round().astype(int).tolist()
    return x, y
