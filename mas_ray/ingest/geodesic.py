"""Geodesic distances of a person mask: along the body from its centre, and outside from the body.

Only distances are stored; loss weights are made from them at load (``GeodesicConfig``, Eq. 9).
"""

from __future__ import annotations

import cv2
import numpy as np
import skfmm
from jaxtyping import Bool, Float32, Float64
from scipy.ndimage import distance_transform_edt

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
    small = _on_distance_map(mask)
    foreground = _foreground_distance(small)
    reached = np.isfinite(foreground)
    foreground = np.where(reached, _max_normalised(np.where(reached, foreground, 0.0)), 1.0)
    # OpenCV's precise transform is faster, and rounds differently from process to process: rows would not repeat.
    outside = np.asarray(distance_transform_edt(~small), dtype=np.float64)
    background = _max_normalised(outside if not small.all() else np.zeros(small.shape))
    return np.stack([foreground, background]).astype(np.float32)


def _on_distance_map(mask: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "map_size map_size"]:
    size = (DISTANCE_MAP_SIZE, DISTANCE_MAP_SIZE)
    coverage = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    half_covered = coverage >= 0.5
    return half_covered if half_covered.any() else coverage > 0


def _foreground_distance(mask: Bool[np.ndarray, "height width"]) -> Float64[np.ndarray, "height width"]:
    """Distance in pixels from the centre; 0 outside the mask, infinite where the mask is not connected to it."""
    rows, columns = np.nonzero(mask)
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    seed = (rows[nearest], columns[nearest])
    distance = np.zeros(mask.shape)
    if len(rows) == 1:
        return distance
    start = np.ma.MaskedArray(np.ones(mask.shape), ~mask)
    start[seed] = 0.0
    try:
        march = skfmm.distance(start)
    except RuntimeError:  # the second-order update has no real solution on rare shapes; the first-order one has
        march = skfmm.distance(start, order=1)
    unreached = np.ma.getmaskarray(march)
    distance[mask] = np.where(unreached, np.inf, np.ma.getdata(march))[mask]
    return distance


def _max_normalised(distance: np.ndarray) -> np.ndarray:
    largest = distance.max()
    return distance / largest if largest > 0 else distance
