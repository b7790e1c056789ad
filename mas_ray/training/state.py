"""TrainState: everything that training changes."""

from __future__ import annotations

import copy
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

_YOUNG = 10  # at step s of a stage at most (s + 1) / (s + 10) of the average stays


@dataclass(frozen=True, kw_only=True, eq=False)
class Networks:
    """A detector and a shape prior network that belong together."""

    detector: Detector
    shape_prior: ShapePriorNetwork


@dataclass(kw_only=True, eq=False)
class TrainState:
    """The networks, their optimiser, and how many epochs of the current stage are done."""

    detector: Detector
    shape_prior: ShapePriorNetwork
    optimizer: torch.optim.Adam
    average: Networks | None = None
    """The running average of the networks' weights, if the cascade wants one."""
    epoch: int = 0

    @property
    def trained(self) -> Networks:
        """The networks that the optimiser changes."""
        return Networks(detector=self.detector, shape_prior=self.shape_prior)

    @property
    def kept(self) -> Networks:
        """The networks that are validated, predict, and are handed on."""
        return self.average or self.trained


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
    state = TrainState(detector=detector, shape_prior=shape_prior, optimizer=torch.optim.Adam(parameters))
    if cascade.weight_average > 0:
        state.average = copy.deepcopy(state.trained)
    return state


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
    if state.average is not None:
        state.average.detector.load_state_dict(state.detector.state_dict())
        state.average.shape_prior.load_state_dict(state.shape_prior.state_dict())


@torch.no_grad()
def move_average(state: TrainState, decay: float, step: int) -> None:
    """Move the average of the weights, if there is one, towards those that a step of the stage has left.

    At first it moves faster, so that what a stage starts from does not weigh on it for 1 / (1 - decay) steps.
    """
    if state.average is None:
        return
    share = 1.0 - min(decay, (1 + step) / (_YOUNG + step))
    for network in ("detector", "shape_prior"):
        average, trained = getattr(state.average, network), getattr(state, network)
        for ours, theirs in zip(average.parameters(), trained.parameters(), strict=True):
            ours.lerp_(theirs, share)
        for ours, theirs in zip(average.buffers(), trained.buffers(), strict=True):
            ours.copy_(theirs)
