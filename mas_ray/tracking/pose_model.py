"""A checkpoint as an MLflow model: pictures of single views in, their joints out.

MLflow loads it by this module's name (``loader_module``) from a copy of the checkpoint folder. Nothing is pickled, and
the model holds no code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mas_ray.batch import Batch
from mas_ray.inference import FrameSetEstimator

_BATCH_SIZE = 16

Pictures = UInt8[np.ndarray, "pictures height width 3"]


class PoseModel:
    """The networks of a checkpoint, for pictures of one person each."""

    def __init__(self, estimator: FrameSetEstimator) -> None:
        self._estimator = estimator

    def predict(self, pictures: Pictures, params: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Joints of square crops around a person; each is a view of its own.

        Args:
            pictures: The crops, RGB, of any size. Where the model's metadata say ``background: removed``, whatever is
                not the person is black in them, as in training.
            params: There are none; MLflow's interface has the argument.

        Returns:
            ``keypoints_ndc`` (pictures, joints, 2) in NDC of the crop, x right and y down; ``depth_mm`` (pictures,
            joints) about the root joint along the optical axis; ``confidence`` (pictures, joints), 0 to 1.

        Raises:
            ValueError: There are no crops, or they are not square.
        """
        if not len(pictures):
            raise ValueError("pictures: expected at least one")
        if pictures.shape[1] != pictures.shape[2]:
            raise ValueError(f"pictures: expected square crops, got {pictures.shape[2]} by {pictures.shape[1]} px")
        size = self._estimator.cascade.detector.input_size
        parts = [
            self._detect(pictures[start : start + _BATCH_SIZE], size) for start in range(0, len(pictures), _BATCH_SIZE)
        ]
        keypoints, depth, confidence = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
        return {"keypoints_ndc": keypoints, "depth_mm": depth, "confidence": confidence}

    def _detect(self, pictures: Pictures, size: int) -> tuple[Tensor, Tensor, Tensor]:
        resized = np.stack([_resize(picture, size) for picture in pictures])
        cascade = self._estimator.cascade
        joints = self._estimator.detect(_single_views(resized, cascade.mask_size))
        return (
            joints.keypoints_ndc[:, 0],
            joints.depth_ndc[:, 0] * cascade.detector.depth_range_mm,
            joints.confidence[:, 0],
        )


def _load_pyfunc(data_path: str) -> PoseModel:  # pyright: ignore[reportUnusedFunction]  # MLflow calls it by its name
    return PoseModel(FrameSetEstimator.load(Path(data_path)))


def _single_views(pictures: Pictures, mask_size: int) -> Batch:
    """Frame sets of one uncalibrated view each, without masks: as far as detection looks at them."""
    image = torch.from_numpy(pictures).permute(0, 3, 1, 2).unsqueeze(1).contiguous().float() / 255.0
    one = image.shape[:2]
    nothing = torch.zeros(*one, mask_size, mask_size)
    return Batch(
        image=image,
        mask=nothing,
        weight=nothing,
        ndc_from_image=_eye(2, 3).expand(*one, 2, 3),
        K=_eye(3, 3).expand(*one, 3, 3),
        R=_eye(3, 3).expand(*one, 3, 3),
        t_mm=torch.tensor([0.0, 0.0, 1000.0]).expand(*one, 3),
        valid=torch.ones(one, dtype=torch.bool),
        calibrated=torch.zeros(one, dtype=torch.bool),
    )


def _eye(rows: int, columns: int) -> Float[Tensor, "rows columns"]:
    return torch.eye(rows, columns)


def _resize(picture: UInt8[np.ndarray, "height width 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """As training does it."""
    if picture.shape[0] == size:
        return picture
    shrinks = size < picture.shape[0]
    resized = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)
