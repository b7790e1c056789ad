"""Square regions of an image: cut out at a fixed size, and pasted back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

_MOST_TILES = 32


@dataclass(frozen=True, kw_only=True)
class Region:
    """A square of an image in pixels; it may reach over the border."""

    left: float
    top: float
    side: float
    angle_deg: float = 0.0
    """The square is turned about its centre by this much; ``left`` and ``top`` are those of the unturned one."""

    def scaled(self, scale: float) -> Region:
        """The same region of the image resized by ``scale``."""
        return replace(self, left=self.left * scale, top=self.top * scale, side=self.side * scale)

    def crop(self, image: UInt8[np.ndarray, "height width 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
        """The region's pixels at ``size`` x ``size``; border pixels are repeated beyond the image."""
        # Whole boxes first: a bilinear look-up alone would skip pixels. A strip of one pixel has no half.
        if self.side > 2 * size and min(image.shape[:2]) > 1:
            return self.scaled(0.5).crop(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), size)
        return cv2.warpAffine(
            image, self.crop_from_image(size)[:2], (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )

    def paste(
        self, values: Float32[np.ndarray, "size size"], height: int, width: int
    ) -> Float32[np.ndarray, "height width"]:
        """Values on the region back in the image; 0 outside the region."""
        return cv2.warpAffine(
            values,
            self.crop_from_image(values.shape[0])[:2],
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )

    def seen_by(
        self, other: Region, values: Float32[np.ndarray, "own own"], size: int
    ) -> Float32[np.ndarray, "size size"]:
        """Values on this region resampled on another one; its border values are repeated beyond it."""
        own_from_other = (self.crop_from_image(values.shape[0]) @ np.linalg.inv(other.crop_from_image(size)))[:2]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(values, own_from_other, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)

    def crop_from_image(self, size: int) -> Float64[np.ndarray, "3 3"]:
        """The affine map of positions in the image to those in the region at ``size`` x ``size``."""
        scale = size / self.side
        cosine, sine = scale * np.cos(np.deg2rad(self.angle_deg)), scale * np.sin(np.deg2rad(self.angle_deg))
        linear = np.array([[cosine, sine], [-sine, cosine]])
        # the centres of the two squares, as positions where pixel centres are integers, coincide
        centre_px = np.array([self.left, self.top]) + (self.side - 1) / 2
        return np.vstack([np.column_stack([linear, (size - 1) / 2 - linear @ centre_px]), (0.0, 0.0, 1.0)])


def around(box: tuple[int, int, int, int], factor: float, angle_deg: float = 0.0) -> Region:
    """The square centred on a box (left, top, right, bottom; inclusive), ``factor`` times its longer side, turned."""
    left, top, right, bottom = box
    side = factor * max(right - left + 1, bottom - top + 1)
    return Region(left=(left + right + 1 - side) / 2, top=(top + bottom + 1 - side) / 2, side=side, angle_deg=angle_deg)


def tiles(height: int, width: int) -> tuple[Region, ...]:
    """The whole image in one square, then squares of its shorter side along the longer one, half overlapping.

    Along a strip they lie apart: there are ``_MOST_TILES`` at most.
    """
    whole = around((0, 0, width - 1, height - 1), 1.0)
    short, long = min(height, width), max(height, width)
    if long < 1.3 * short:
        return (whole,)
    count = min(_MOST_TILES, int(np.ceil(2 * (long / short) - 1)))
    offsets = np.linspace(0, long - short, count)
    along = [
        Region(left=0.0, top=float(o), side=float(short))
        if height > width
        else Region(left=float(o), top=0.0, side=float(short))
        for o in offsets
    ]
    return (whole, *along)
