"""Geodesic distance maps: their cost against two full-frame marches at 256², their error against a magnified march.

    python benchmarks/geodesic.py

Fifteen seconds. Both baselines march twice at 256², as loss weights are made in their textbook form. One marches from
the mask's border over the whole frame and from the centre inside the mask; in the other both cross the whole frame.
Errors are shares of the largest distance. The foreground's reference marches on a copy of the *same* map, magnified
eight times, so what shrinking the mask loses is no part of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np
import skfmm
from measure import interleaved_cpu_seconds, print_table
from people import crops
from scipy.ndimage import distance_transform_edt

from mas_ray.ingest.geodesic import distances_on_map, geodesic_distances

NUM_TIMED, NUM_COMPARED = 16, 48
MAGNIFIED = 8
SHARE = {128: 15, 64: 40}
FOREGROUND_ERROR = 0.02


def centre(mask: np.ndarray) -> tuple[int, int]:
    """The pixel of the mask that is nearest its centroid."""
    rows, columns = np.nonzero(mask)
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return int(rows[nearest]), int(columns[nearest])


def march_from_border(mask: np.ndarray) -> np.ndarray:
    """From the border of the mask over the whole frame."""
    return skfmm.distance(np.where(mask, -1.0, 1.0))


def march_inside(mask: np.ndarray) -> np.ndarray:
    """From the centre inside the mask, on an array as large as the frame."""
    start = np.ma.MaskedArray(np.ones(mask.shape), ~mask)
    start[centre(mask)] = 0.0
    return skfmm.distance(start)


def march_everywhere(mask: np.ndarray) -> np.ndarray:
    """From the centre over the whole frame."""
    start = np.ones(mask.shape)
    start[centre(mask)] = 0.0
    return skfmm.distance(start)


def magnified_foreground(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance from the centre at the pixels' centres by a march on a magnified copy, and where there is one.

    The march starts from a circle within the centre's pixel: a magnified pixel has no pixel at its middle.
    """
    row, column = (MAGNIFIED * index + (MAGNIFIED - 1) / 2 for index in centre(mask))
    radius = MAGNIFIED / 2 - 1
    large = mask.repeat(MAGNIFIED, 0).repeat(MAGNIFIED, 1)
    y, x = np.ogrid[: large.shape[0], : large.shape[1]]
    march = skfmm.distance(np.ma.MaskedArray(np.hypot(y - row, x - column) - radius, ~large))
    reached = mask & ~blocks(np.ma.getmaskarray(march)).any(axis=(1, 3))
    return blocks(np.ma.getdata(march) + radius).mean(axis=(1, 3)), reached


def blocks(values: np.ndarray) -> np.ndarray:
    """The four middle pixels of each magnified pixel: rows x 2 x columns x 2."""
    rows, columns = (size // MAGNIFIED for size in values.shape)
    middle = slice(MAGNIFIED // 2 - 1, MAGNIFIED // 2 + 1)
    return values.reshape(rows, MAGNIFIED, columns, MAGNIFIED)[:, middle, :, middle]


def foreground_error(mask: np.ndarray) -> np.ndarray:
    """Differences of the normalised foreground distance from the magnified march, on the mask."""
    exact, reached = magnified_foreground(mask)
    return np.abs(distances_on_map(mask)[0] - exact / exact[reached].max())[reached]


def background_is_exact(mask: np.ndarray) -> bool:
    """Whether the background is the Euclidean distance to the bit."""
    exact = np.asarray(distance_transform_edt(~mask))
    return np.array_equal(distances_on_map(mask)[1], (exact / exact.max()).astype(np.float32))


def shrunk(mask: np.ndarray, size: int) -> np.ndarray:
    """The pixels of a map that the mask covers at least half."""
    return cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) >= 0.5


def for_all(function: Callable[[np.ndarray], object], masks: Sequence[np.ndarray]) -> None:
    """Call a function on each mask."""
    for mask in masks:
        function(mask)


def compare_cost(masks: Sequence[np.ndarray]) -> None:
    """Print what a view costs, and the ratios to both baselines."""
    maps_64 = [shrunk(mask, 64) for mask in masks]
    ours = {128: "geodesic_distances, 128² map", 64: "distances_on_map, 64² map"}
    variants = {
        "march from the border": partial(for_all, march_from_border, masks),
        "march inside the mask": partial(for_all, march_inside, masks),
        "march everywhere": partial(for_all, march_everywhere, masks),
        ours[128]: partial(for_all, geodesic_distances, masks),
        ours[64]: partial(for_all, distances_on_map, maps_64),
    }
    ms = {name: 1e3 * s / len(masks) for name, s in interleaved_cpu_seconds(variants, repetitions=7).items()}
    inside = ms["march from the border"] + ms["march inside the mask"]
    everywhere = ms["march from the border"] + ms["march everywhere"]
    print_table(
        f"A view of 256²: border + inside {inside:.1f} ms, + everywhere {everywhere:.1f} ms",
        ("variant", "CPU ms", "of border + inside", "of border + everywhere"),
        [(name, f"{t:.2f}", f"1/{inside / t:.1f}", f"1/{everywhere / t:.1f}") for name, t in ms.items()],
    )
    for size, share in SHARE.items():
        verdict = "met" if inside / ms[ours[size]] >= share else "MISSED"
        print(f"target: the {size}² map at most 1/{share} of border + inside (the harder one): {verdict}")


def compare_accuracy(masks: Sequence[np.ndarray]) -> None:
    """Print the errors of both distances on maps of both sizes."""
    rows: list[tuple[str, ...]] = []
    for size in SHARE:
        maps = [shrunk(mask, size) for mask in masks]
        errors = [foreground_error(mask) for mask in maps]
        largest = [float(error.max()) for error in errors]
        within = statistics.fmean(float((error <= FOREGROUND_ERROR).mean()) for error in errors)
        rows.append(
            (
                f"{size}²",
                f"{statistics.fmean(float(error.mean()) for error in errors):.2%}",
                f"{within:.1%}",
                f"{statistics.median(largest):.1%}",
                f"{max(largest):.1%}",
                f"{sum(error <= FOREGROUND_ERROR for error in largest)} of {len(maps)}",
                f"{sum(map(background_is_exact, maps))} of {len(maps)}",
            )
        )
    print_table(
        "Foreground against the march on a magnified copy, background against the exact one",
        ("map", "mean error", "pixels within 2 %", "a mask's largest, median", "largest of all", "all within", "exact"),
        rows,
    )
    share, pixels, exact = rows[0][5], rows[0][2], rows[0][6]
    print(
        f"target: on 128² maps every pixel within 2 %: {share} masks, {pixels} of a mask's pixels; background: {exact}"
    )


def main() -> None:
    """Print both tables."""
    cv2.setNumThreads(1)
    masks = [mask for _, mask in crops(NUM_COMPARED)]
    compare_cost(masks[:: NUM_COMPARED // NUM_TIMED])
    compare_accuracy(masks)


if __name__ == "__main__":
    main()
