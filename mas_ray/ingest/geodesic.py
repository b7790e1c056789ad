"""Geodesic distances of a person mask: along the body from its centre, and outside from the body.

Only distances are stored; loss weights are made from them at load (``GeodesicConfig``, Eq. 9).
"""

from __future__ import annotations

import cv2
import numpy as np
import skfmm
from jaxtyping import Bool, Float32, Float64

from mas_ray.shards.manifest import DISTANCE_MAP_SIZE


def geodesic_distances(mask: Bool[np.ndarray, "height width"]) -> Float32[np.ndarray, "2 map_size map_size"]:
    """Foreground and background distance of a square mask on the distance map, each in [0, 1].

    Foreground: the shortest way inside the mask from the mask pixel nearest its centroid; components that cannot
    be reached are farthest (1); 0 outside. Background: the Euclidean distance to the mask; 0 inside, holes count
    as outside. Each is divided by its maximum; a maximum of 0 leaves zeros.

    Raises:
        ValueError: The mask is empty.
    """
    if not mask.any():
        raise ValueError("mask: expected at least one pixel")
    return distances_on_map(_on_distance_map(mask))


def distances_on_map(mask: Bool[np.ndarray, "height width"]) -> Float32[np.ndarray, "2 height width"]:
    """``geodesic_distances`` of a mask that has the map's resolution and is not empty."""
    distances = np.zeros((2, *mask.shape), np.float32)
    _write_foreground(mask, distances[0])
    if not mask.all():
        background = distance_to_mask(mask)
        distances[1] = background / background.max()
    return distances


def _on_distance_map(mask: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "map_size map_size"]:
    size = (DISTANCE_MAP_SIZE, DISTANCE_MAP_SIZE)
    coverage = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    half_covered = coverage >= 0.5
    return half_covered if half_covered.any() else coverage > 0


def _write_foreground(mask: Bool[np.ndarray, "height width"], into: Float32[np.ndarray, "height width"]) -> None:
    """Write the normalised distance from the centre where the mask is; ``into`` comes as zeros.

    The march sees only the mask's box, which is half the map or less for a person; its result is the same.
    """
    rows, columns = np.nonzero(mask)
    if rows.size == 1:
        return
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    top, left = rows[0], columns.min()
    box = np.s_[top : rows[-1] + 1, left : columns.max() + 1]
    distance, reached = _march(mask[box], (int(rows[nearest] - top), int(columns[nearest] - left)))
    largest = distance.max()
    into[box] = np.where(reached, distance / largest if largest > 0 else distance, mask[box])


def _march(
    mask: Bool[np.ndarray, "height width"], seed: tuple[int, int]
) -> tuple[Float64[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
    """Distance in pixels from the seed inside the mask, and where there is one; it is 0 elsewhere."""
    contour = np.ones(mask.shape)
    contour[seed] = 0.0
    start = np.ma.MaskedArray(contour, ~mask)
    try:
        march = skfmm.distance(start)
    except RuntimeError:  # the second-order update has no real solution on rare shapes; the first-order one has
        march = skfmm.distance(start, order=1)
    return np.ma.getdata(march), ~np.ma.getmaskarray(march)


def distance_to_mask(mask: Bool[np.ndarray, "height width"]) -> Float64[np.ndarray, "height width"]:
    """Exact Euclidean distance in pixels to the nearest pixel of the mask, on maps of up to 256 pixels a side.

    OpenCV's precise transform is exact up to the rounding of its float32 square roots, which differs from process to
    process: rows would not repeat. But squared distances are integers, and rounding to them restores every bit: up to
    256 pixels a side squares are off by about 0.01. At 1000 they can be off by a half.
    """
    rounded = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.sqrt(np.rint(np.square(rounded, dtype=np.float64)))
