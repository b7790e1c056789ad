"""Segment Anything, prompted by another method's mask: a box, points deep inside it, points clearly outside."""

from __future__ import annotations

import functools
import pickle
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from segment_anything import SamPredictor, sam_model_registry

from mas_ray.config.ingest import SamMasks
from mas_ray.ingest.masks.method import PersonMask, ViewMasker
from mas_ray.ingest.masks.person import box, one_person
from mas_ray.shards.manifest import file_sha256

_BOX_MARGIN = 0.05
_NEGATIVE_DISTANCE = 0.15  # of the box's longer side: how far outside the mask a negative point must lie

_loading = threading.Lock()

Image = UInt8[np.ndarray, "height width 3"]
Mask = Bool[np.ndarray, "height width"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompts:
    """Box (left, top, right, bottom) and points (x, y) in pixels; label 1 is inside, 0 outside."""

    box: Float[np.ndarray, " 4"]
    points: Float[np.ndarray, "points 2"]
    labels: UInt8[np.ndarray, " points"]


@runtime_checkable
class PromptableModel(Protocol):
    """An image and prompts in, candidate masks and the model's estimate of each one's IoU out."""

    def __call__(
        self, image_rgb: Image, prompts: Prompts
    ) -> tuple[Bool[np.ndarray, "masks height width"], Float[np.ndarray, " masks"]]:
        """Segment one image."""
        ...


class SamModel:
    """A loaded Segment Anything network. Views that share it take turns: a predictor remembers its last image."""

    def __init__(self, predictor: SamPredictor) -> None:
        self._predictor = predictor
        self._turn = threading.Lock()

    def __call__(
        self, image_rgb: Image, prompts: Prompts
    ) -> tuple[Bool[np.ndarray, "masks height width"], Float[np.ndarray, " masks"]]:
        """Encode the image and decode the prompts, with three candidates."""
        with self._turn:
            self._predictor.set_image(image_rgb)
            masks, scores, _ = self._predictor.predict(
                point_coords=prompts.points,
                point_labels=prompts.labels,
                box=prompts.box,
                multimask_output=True,
            )
        return np.asarray(masks, dtype=bool), np.asarray(scores, dtype=np.float32)


class SamMasker:
    """Refines a seed method's masks, frame by frame."""

    def __init__(self, model: PromptableModel, seed: ViewMasker, config: SamMasks) -> None:
        self._model = model
        self._seed = seed
        self._config = config

    def __call__(self, image_rgb: Image, frame: int) -> PersonMask | None:
        """The candidate that the model believes in and that agrees with the seed.

        None where the seed finds nobody, or no candidate overlaps it.
        """
        seed = self._seed(image_rgb, frame)
        if seed is None:
            return None
        prompts = prompts_from_mask(
            seed.mask,
            num_positive=self._config.num_positive_points,
            num_negative=self._config.num_negative_points,
        )
        masks, scores = self._model(image_rgb, prompts)
        overlaps = [_intersection_over_union(mask, seed.mask) for mask in masks]
        best = int(np.argmax(scores * overlaps))
        mask = one_person(masks[best], seed.mask) if overlaps[best] > 0 else None
        return None if mask is None else PersonMask(mask=mask, score=float(np.clip(scores[best], 0.0, 1.0)))


def prompts_from_mask(mask: Mask, *, num_positive: int, num_negative: int) -> Prompts:
    """Prompts that a person would give: deep inside the body, well apart, and on the ground beside it."""
    left, top, right, bottom = box(mask)
    side = max(right - left, bottom - top) + 1
    height, width = mask.shape
    margin = _BOX_MARGIN * side
    corners = np.array([left - margin, top - margin, right + margin, bottom + margin])
    limits = np.array([width - 1, height - 1, width - 1, height - 1], dtype=np.float64)
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    beside = np.zeros_like(outside)
    window = slice(max(0, top), bottom + 1), slice(max(0, round(left - side / 2)), round(right + side / 2))
    beside[window] = np.where(outside[window] >= _NEGATIVE_DISTANCE * side, outside[window], 0.0)
    positive = _spread_points(inside, num_positive, apart=side / 4)
    negative = _spread_points(beside, num_negative, apart=side / 2)
    return Prompts(
        box=np.clip(corners, 0.0, limits),
        points=np.concatenate([positive, negative]),
        labels=np.array([1] * len(positive) + [0] * len(negative), np.uint8),
    )


def load_model(config: SamMasks) -> SamModel:
    """Load a checkpoint of the expected hash, once per process; tensors only, so that a file cannot bring code.

    Raises:
        ValueError: The file is missing, has another hash, or does not hold the weights of ``config.model``.
    """
    with _loading:  # the views of a take ask for it at the same time
        return _load_model(config.checkpoint, config.sha256, config.model)


@functools.lru_cache(maxsize=1)
def _load_model(checkpoint: str, sha256: str, model: str) -> SamModel:
    path = Path(checkpoint)
    if not path.is_file():
        raise ValueError(f"masks.checkpoint: {path} does not exist")
    found = file_sha256(path)
    if found != sha256:
        raise ValueError(f"masks.sha256: {path} has {found}, expected {sha256}")
    network = sam_model_registry[model]()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"masks.model: {path} does not hold the weights of {model}: {str(error).splitlines()[0]}"
        ) from None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return SamModel(SamPredictor(network.to(device).eval()))


def _spread_points(depth: np.ndarray, num: int, *, apart: float) -> Float[np.ndarray, "points 2"]:
    """Up to ``num`` positions (x, y) of largest depth, each at least ``apart`` from the others."""
    depth = depth.astype(np.float32).copy()
    points: list[tuple[float, float]] = []
    for _ in range(num):
        row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
        if depth[row, column] <= 0:
            break
        points.append((float(column), float(row)))
        cv2.circle(depth, (int(column), int(row)), max(1, round(apart)), 0.0, -1)
    return np.array(points, dtype=np.float64).reshape(-1, 2)


def _intersection_over_union(a: Mask, b: Mask) -> float:
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0
