"""Pictures of what a checkpoint predicts: the same held-out frames after every stage."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from mas_ray.geometry.pixel_grid import pixel_from_ndc
from mas_ray.inference import PoseEstimator
from mas_ray.reporting.overlay import draw_mask_outline, draw_skeleton
from mas_ray.shards.images import decode_image, decode_mask
from mas_ray.shards.location import Location
from mas_ray.shards.manifest import read_manifest
from mas_ray.shards.read import read_split

_NUM_INSTANTS = 2


def stage_pictures(checkpoint: Path, manifest: Location) -> Iterator[tuple[str, UInt8[np.ndarray, "height width 3"]]]:
    """(name, picture) of a few instants of the validation split (training where there is none), views side by side."""
    content = read_manifest(manifest)
    split = "validation" if content.splits.validation else "train"
    estimator = PoseEstimator.load(checkpoint)
    with torch.inference_mode():
        prediction = next(estimator.predict_dataset(manifest, split))
    rows = read_split(manifest.parent, content, split)
    for index, row in enumerate(itertools.islice(rows, _NUM_INSTANTS)):
        tiles: list[np.ndarray] = []
        for view in row["views"]:
            crop = decode_image(view["image"])
            keypoints = prediction.keypoints_crop_ndc[index, prediction.views[index].index(view["name"])]
            outlined = draw_mask_outline(crop, decode_mask(view["mask"], *crop.shape[:2]))
            pixels = pixel_from_ndc(keypoints.double(), crop.shape[0]).numpy()
            tiles.append(draw_skeleton(outlined, pixels, estimator.skeleton))
        yield f"overlays/{row['take_id']}-{row['instant']:06d}.png", np.hstack(tiles)
