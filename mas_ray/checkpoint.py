"""The checkpoint directory: everything needed to go on, and everything needed to predict.

``FORMAT``, ``job.json`` (the TrainJob), ``skeleton.json``, ``model.pt``, ``progress.json``, and what only going on
needs: ``optimizer.pt``, ``trained.pt`` with the weights themselves where ``model.pt`` has their average, and
``report.json`` with the figures of its epoch. ``sha256.json`` has the digests of the others, by which damage is found
when they are read; checkpoints once had none. A model is rebuilt from the job *in the checkpoint*, never from today's
defaults. Tensors are loaded with ``weights_only``: a checkpoint can hold no code.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mas_ray.config import codec
from mas_ray.config.jobs import TrainJob
from mas_ray.geometry.chirality import KneeChirality
from mas_ray.skeleton import H36M_18, Skeleton

FORMAT = "mas-ray checkpoint 1"
_DIGESTS = "sha256.json"
_FILES = ("job.json", "skeleton.json", "model.pt", "progress.json")
PACKAGED = "packaged"
_PACKAGED = Path(__file__).parent / "pretrained" / "synthetic_people"
_PACKAGED_SHA256 = {
    "job.json": "53b0f79293ab01bbc2a55549b1584c6d9b3d6c8f6d425d5e5bf5a234f63a9b4e",
    "model.pt": "17d29d746a00ccc8b25396630e029e63d7fb30a36e16f3e9fd954945828f99ec",
    "progress.json": "ada365aeda129dc466ba75a8086508f596fceb2552ce609db0f6e92b4292cafc",
}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where in the cascade a checkpoint was taken."""

    stage: int
    """Index of the stage."""
    stage_name: str
    num_epochs: int
    """Finished epochs of that stage."""
    num_steps: int
    """Finished optimiser steps of that stage."""
    validation_reconstruction: float
    knee_chirality: KneeChirality | None = None
    """Of held-out poses as the networks name them. Negative: whoever predicts exchanges left and right. None where
    nothing could be triangulated."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A loaded checkpoint; tensors on the CPU."""

    job: TrainJob
    skeleton: Skeleton
    progress: Progress
    detector: dict[str, Any]
    shape_prior: dict[str, Any]


def save_checkpoint(
    folder: Path,
    job: TrainJob,
    *,
    skeleton: Skeleton,
    progress: Progress,
    detector: dict[str, Any],
    shape_prior: dict[str, Any],
    optimizer: dict[str, Any],
    trained: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint into an existing empty folder; ``FORMAT`` comes last and makes it valid.

    Args:
        folder: Where to.
        job: The job, with the cascade that was trained.
        skeleton: The skeleton.
        progress: Where in the cascade this is.
        detector: Weights that predict and that the next stage starts from.
        shape_prior: Likewise.
        optimizer: Its state.
        trained: The weights that the optimiser changes, by network, where the others are their average.
    """
    (folder / "job.json").write_text(codec.dumps(job))
    (folder / "skeleton.json").write_text(json.dumps({"joints": skeleton.joints, "parents": skeleton.parents}))
    torch.save({"detector": detector, "shape_prior": shape_prior}, folder / "model.pt")
    torch.save(optimizer, folder / "optimizer.pt")
    if trained is not None:
        torch.save(trained, folder / "trained.pt")
    (folder / "progress.json").write_text(codec.dumps(progress))
    digests = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    (folder / _DIGESTS).write_text(json.dumps(digests, indent=2) + "\n")
    (folder / "FORMAT").write_text(FORMAT + "\n")


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        ValueError: It is missing, incomplete, damaged, of another format or skeleton; the message names the file.
    """
    marker = folder / "FORMAT"
    if not marker.is_file():
        raise ValueError(f"{folder}: no checkpoint here (FORMAT is missing)")
    found = marker.read_text().strip()
    if found != FORMAT:
        raise ValueError(f"{marker}: format {found!r}, expected {FORMAT!r}")
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder / missing[0]}: missing from the checkpoint")
    for name in _FILES:
        _check_digest(folder / name)
    joints = json.loads((folder / "skeleton.json").read_text())["joints"]
    if tuple(joints) != H36M_18.joints:
        raise ValueError(f"{folder / 'skeleton.json'}: expected the joints of H36M_18, got {', '.join(joints)}")
    model = _load(folder / "model.pt")
    return Checkpoint(
        job=codec.loads(TrainJob, (folder / "job.json").read_text(), str(folder / "job.json")),
        skeleton=H36M_18,
        progress=codec.loads(Progress, (folder / "progress.json").read_text(), str(folder / "progress.json")),
        detector=model["detector"],
        shape_prior=model["shape_prior"],
    )


def checkpoint_folder(name: str) -> Path:
    """The folder that a job names; ``packaged`` is the checkpoint that comes with mas-ray."""
    return packaged_checkpoint() if name == PACKAGED else Path(name)


def packaged_checkpoint() -> Path:
    """The packaged checkpoint: trained without labels on generated people alone; its folder has a model card.

    Raises:
        ValueError: A file is missing or not the one that was packaged.
    """
    for name, expected in _PACKAGED_SHA256.items():
        path = _PACKAGED / name
        found = _sha256(path) if path.is_file() else "no file"
        if found != expected:
            raise ValueError(f"{path}: expected sha256 {expected}, got {found}; install mas-ray again")
    return _PACKAGED


def load_optimizer(folder: Path) -> dict[str, Any]:
    """The optimiser's state of a checkpoint; raises ``ValueError`` as ``load_checkpoint``."""
    _check_digest(folder / "optimizer.pt")
    return _load(folder / "optimizer.pt")


def load_trained(folder: Path) -> dict[str, Any]:
    """By network, the weights whose average a checkpoint's networks have; raises as ``load_checkpoint``."""
    _check_digest(folder / "trained.pt")
    return _load(folder / "trained.pt")


def _check_digest(path: Path) -> None:
    """Raise ``ValueError`` if a file is not what was written, as far as its checkpoint says what that was."""
    digests = path.with_name(_DIGESTS)
    if not digests.is_file():
        return
    try:
        expected = json.loads(digests.read_text())[path.name]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{digests}: expected the digest of {path.name}") from None
    if not path.is_file() or _sha256(path) != expected:
        raise ValueError(f"{path}: damaged: it is not of the sha256 in {_DIGESTS}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: not a readable checkpoint file: {error}") from None
