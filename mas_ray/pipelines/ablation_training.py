"""The training of ablations, one stage after the other in this process, without Ray.

Nothing here is told where reference joints lie, and an import contract keeps the code that reads them away.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mas_ray.config import codec
from mas_ray.config.cascade import CascadeConfig
from mas_ray.pipelines.progress import note, progress
from mas_ray.shards.location import Location, publishing
from mas_ray.shards.manifest import Manifest, SplitName, file_sha256, read_manifest
from mas_ray.skeleton import H36M_18
from mas_ray.training.cascade import CascadeStep, run_cascade_stage
from mas_ray.training.data import FrameSets, open_split
from mas_ray.training.loop import validation_reconstruction
from mas_ray.training.objective import StageObjective
from mas_ray.training.order import num_steps
from mas_ray.training.state import Networks, TrainState, create_state

_BATCH_SIZE = 8
_KEY_LENGTH = 12


@dataclass(frozen=True, kw_only=True)
class KeyedDataset:
    """A dataset whose digest is part of what is made from it."""

    path: Location
    """``manifest.json``."""
    manifest: Manifest
    manifest_sha256: str

    def open(self, split: SplitName, cascade: CascadeConfig) -> FrameSets:
        """A split as a recipe sees it; ``ValueError`` if it is empty."""
        return open_split(self.path.parent, self.manifest, split, cascade)

    def key(self, cascade: CascadeConfig, *more: str) -> str:
        """Part of a file's name, another one for another dataset, recipe, or anything more that decides its content."""
        content = "".join((self.manifest_sha256, codec.dumps(cascade), *more))
        return hashlib.sha256(content.encode()).hexdigest()[:_KEY_LENGTH]


def open_dataset(path: Location) -> KeyedDataset:
    """The dataset of a manifest; ``ValueError`` if that cannot be read."""
    return KeyedDataset(path=path, manifest=read_manifest(path), manifest_sha256=file_sha256(path))


def train_recipe(
    cascade: CascadeConfig, dataset: KeyedDataset, *, stages: Path, title: str, single_view: KeyedDataset | None = None
) -> TrainState:
    """The recipe's networks after its last stage. Stages that it begins with are shared with other recipes.

    Args:
        cascade: The recipe.
        dataset: Whose training split it sees.
        stages: The folder that keeps the networks after each stage.
        title: What to call it on the terminal.
        single_view: A dataset of single views, if the recipe has a stage with a share of them.
    """
    index = len(cascade.stages) - 1
    stage = cascade.stages[index]
    alone = single_view if stage.single_view_share else None
    more = () if alone is None else (alone.manifest_sha256,)
    path = stages / f"{stage.name}-{dataset.key(cascade, *more)}.pt"
    if path.is_file():
        return _load(path, cascade)
    begun = replace(cascade, stages=cascade.stages[:index]) if index else None
    before = train_recipe(begun, dataset, stages=stages, title=title, single_view=single_view) if begun else None
    train = dataset.open("train", cascade)
    if stage.teacher is not None:
        note(f"{title}, {stage.name}: the stage before predicts the training split")
    total = stage.num_epochs * num_steps(len(train), cascade.batch_size, cascade.steps_per_epoch)
    step: CascadeStep | None = None
    with progress(f"{title}, {stage.name}", total, "steps") as advance:
        for step in run_cascade_stage(
            cascade, index, train, before=before, skeleton=H36M_18, single_view=alone and alone.open("train", cascade)
        ):
            advance(1, loss=step.metrics.losses["total"])
    assert step is not None  # every stage has at least one epoch
    _save(path, step.state)
    return step.state


def reconstruction(networks: Networks, cascade: CascadeConfig, frame_sets: FrameSets) -> float:
    """Mask losses of each view's own joints, as the recipe's last stage weighs them.

    Without reprojected joints: how those are named differs between recipes, and would be part of the comparison.
    """
    last = cascade.stages[-1]
    stage = replace(last, loss_weights=replace(last.loss_weights, reprojection=0.0))
    objective = StageObjective(networks.detector, networks.shape_prior, stage=stage, cascade=cascade, skeleton=H36M_18)
    return validation_reconstruction(objective, frame_sets, batch_size=_BATCH_SIZE)


def _save(path: Path, state: TrainState) -> None:
    kept = state.kept
    with publishing(path) as partial:
        torch.save({"detector": kept.detector.state_dict(), "shape_prior": kept.shape_prior.state_dict()}, partial)


def _load(path: Path, cascade: CascadeConfig) -> TrainState:
    state = create_state(cascade, H36M_18, torch.device("cpu"))
    networks = torch.load(path, map_location="cpu", weights_only=True)
    state.kept.detector.load_state_dict(networks["detector"])
    state.kept.shape_prior.load_state_dict(networks["shape_prior"])
    return state
