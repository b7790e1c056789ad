"""Batch: named tensors of some frame sets, and how dataset rows become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor

from mas_ray.config.cascade import CascadeConfig, GeodesicConfig
from mas_ray.geometry.camera import Camera
from mas_ray.geometry.pixel_grid import ndc_from_pixel_matrix
from mas_ray.shards.images import decode_distances, decode_image, decode_mask
from mas_ray.shards.manifest import DISTANCE_MAP_SIZE


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Frame sets as the objective sees them. Views that a frame set lacks are zero and not ``valid``."""

    image: Float[Tensor, "batch views rgb height width"]
    """Values 0 to 1; the background is 0 if the detector wants it removed."""
    mask: Float[Tensor, "batch views rows columns"]
    """Share of each map pixel that the person covers."""
    weight: Float[Tensor, "batch views rows columns"]
    """Geodesic weights (Eq. 9)."""
    ndc_from_image: Float[Tensor, "batch views 2 3"]
    """From pixels of the undistorted source image to NDC of the crop."""
    K: Float[Tensor, "batch views 3 3"]
    """ndc_from_camera: intrinsics of the crop with NDC in place of pixels."""
    R: Float[Tensor, "batch views 3 3"]
    t_mm: Float[Tensor, "batch views 3"]
    valid: Bool[Tensor, "batch views"]
    calibrated: Bool[Tensor, "batch views"]
    teacher_mm: Float[Tensor, "batch joints 3"] | None = None
    """World joints that the stage before predicted; NaN where it could not. None: there is no teacher."""

    @property
    def camera(self) -> Camera:
        """The cameras; their ``project`` gives NDC of the crop."""
        return Camera(K=self.K, R=self.R, t_mm=self.t_mm)

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        tensors: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        return Batch(**{name: t.to(device, non_blocking=True) for name, t in tensors.items() if t is not None})


def collate(
    rows: Sequence[Mapping[str, Any]], view_slots: Mapping[str, Sequence[str]], cascade: CascadeConfig
) -> Batch:
    """Decode dataset rows into a batch of the sizes that a cascade works at.

    Args:
        rows: Rows of the frame set schema as Python objects.
        view_slots: For each take the views axis by name; a row's view of another name is a ``ValueError``. The axis
            is as long as the take with most views needs.
        cascade: Sizes of image and map, geodesic constants, and whether the background is removed.
    """
    input_size, mask_size = cascade.detector.input_size, cascade.mask_size
    num_rows, num_views = len(rows), max(map(len, view_slots.values()))
    image = np.zeros((num_rows, num_views, input_size, input_size, 3), np.uint8)
    mask = np.zeros((num_rows, num_views, mask_size, mask_size), np.float32)
    weight = np.zeros((num_rows, num_views, mask_size, mask_size), np.float32)
    ndc_from_image = np.tile(np.eye(2, 3), (num_rows, num_views, 1, 1))
    K, R, t_mm = _absent_cameras(num_rows, num_views)
    valid = np.zeros((num_rows, num_views), bool)
    calibrated = np.zeros((num_rows, num_views), bool)
    for b, row in enumerate(rows):
        for view in row["views"]:
            v = _slot(row["take_id"], view["name"], view_slots)
            pixels = decode_image(view["image"])
            bits = decode_mask(view["mask"], *pixels.shape[:2])
            if cascade.detector.background == "removed":
                pixels = pixels * bits[..., None]
            image[b, v] = _resize(pixels, input_size)
            mask[b, v] = _resize(bits.astype(np.float32), mask_size)
            distances = decode_distances(view["geodesic_distance"], DISTANCE_MAP_SIZE)
            weight[b, v] = geodesic_weight(distances, mask_size, cascade.geodesic)
            ndc_from_image[b, v] = _ndc_from_image(view, pixels.shape[0])
            valid[b, v] = True
            calibrated[b, v] = view["calibrated"]
            if view["calibrated"]:
                K[b, v] = np.vstack([ndc_from_image[b, v], (0.0, 0.0, 1.0)]) @ np.reshape(view["K"], (3, 3))
                R[b, v] = np.reshape(view["R"], (3, 3))
                t_mm[b, v] = view["t_mm"]
    return Batch(
        image=torch.from_numpy(image).permute(0, 1, 4, 2, 3).contiguous().float() / 255.0,
        mask=torch.from_numpy(mask),
        weight=torch.from_numpy(weight),
        ndc_from_image=torch.from_numpy(ndc_from_image).float(),
        K=torch.from_numpy(K).float(),
        R=torch.from_numpy(R).float(),
        t_mm=torch.from_numpy(t_mm).float(),
        valid=torch.from_numpy(valid),
        calibrated=torch.from_numpy(calibrated),
    )


def _slot(take_id: str, view: str, view_slots: Mapping[str, Sequence[str]]) -> int:
    slots = view_slots.get(take_id, ())
    if view not in slots:
        raise ValueError(f"take {take_id}: view {view!r} is not among {', '.join(slots) or 'none'}")
    return slots.index(view)


def geodesic_weight(
    distances: Float32[np.ndarray, "2 size size"], mask_size: int, config: GeodesicConfig
) -> Float32[np.ndarray, "rows columns"]:
    """Per-pixel loss weights from foreground and background distances in [0, 1] (Eq. 9)."""
    foreground = np.exp(config.foreground_rate * distances[0]) + config.foreground_offset
    background = config.background_slope * distances[1] + config.background_offset
    weight = _resize((foreground + background).astype(np.float32), mask_size)
    return weight / weight.mean() if config.normalise_mean else weight


def _ndc_from_image(view: Mapping[str, Any], crop_size: int) -> Float[np.ndarray, "2 3"]:
    crop_from_image = np.vstack([np.reshape(view["crop_from_image"], (2, 3)), (0.0, 0.0, 1.0)])
    return (ndc_from_pixel_matrix(crop_size).numpy() @ crop_from_image)[:2]


def _absent_cameras(
    num_rows: int, num_views: int
) -> tuple[
    Float[np.ndarray, "batch views 3 3"], Float[np.ndarray, "batch views 3 3"], Float[np.ndarray, "batch views 3"]
]:
    """Cameras of views that are not there: harmless to compute with."""
    identity = np.tile(np.eye(3), (num_rows, num_views, 1, 1))
    t_mm = np.zeros((num_rows, num_views, 3))
    t_mm[..., 2] = 1000.0
    return identity, identity.copy(), t_mm


def _resize(image: Float32[np.ndarray, "*shape"] | UInt8[np.ndarray, "*shape"], size: int) -> Any:
    if image.shape[0] == size:
        return image
    shrinks = size < image.shape[0]
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
