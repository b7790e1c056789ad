"""TrainState: everything that training changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mas_ray.config.cascade import CascadeConfig
from mas_ray.config.stage import StageConfig
from mas_ray.models.backbone import load_backbone
from mas_ray.models.detector import Detector, create_detector
from mas_ray.models.shape_prior import ShapePriorNetwork, create_shape_prior
from mas_ray.skeleton import Skeleton


@dataclass(kw_only=True, eq=False)
class TrainState:
    """The networks, their optimiser, and how many epochs of the current stage are done."""

    detector: Detector
    shape_prior: ShapePriorNetwork
    optimizer: torch.optim.Adam
    epoch: int = 0


def create_state(cascade: CascadeConfig, skeleton: Skeleton, device: torch.device) -> TrainState:
    """Freshly initialised networks; the seed and the backbone's weights, if any are named, decide them.

    Raises:
        ValueError: The backbone's weights are missing or do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cascade.seed)
        detector = create_detector(cascade.detector, skeleton).to(device)
        shape_prior = create_shape_prior(cascade.shape_prior).to(device)
    weights = cascade.detector.backbone_weights
    if weights is not None:
        trunk = detector.features.get_submodule("0")  # the head follows it
        load_backbone(trunk, Path(weights.path), sha256=weights.sha256)
    parameters = [*detector.parameters(), *shape_prior.parameters()]
    return TrainState(detector=detector, shape_prior=shape_prior, optimizer=torch.optim.Adam(parameters))


def inherit(
    state: TrainState,
    stage: StageConfig,
    *,
    detector: Mapping[str, Any],
    shape_prior: Mapping[str, Any],
    order: Sequence[int] | None = None,
) -> None:
    """Give a fresh state the weights that the stage before left, as far as the stage wants them.

    Args:
        state: Changed in place.
        stage: The stage that begins.
        detector: Weights of the detector before.
        shape_prior: Weights of the shape prior network before.
        order: For each joint the one whose heatmap it takes over; None: its own. A mirror permutation exchanges left
            and right.
    """
    if not stage.fresh_detector:
        state.detector.load_state_dict(detector)
        if order is not None:
            state.detector.reorder_joints(order)
    state.shape_prior.load_state_dict(shape_prior)
