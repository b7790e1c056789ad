"""Checkpoints by name: a folder, its URI in a store, ``packaged``, or a model of an MLflow registry."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from mas_ray.checkpoint import checkpoint_folder
from mas_ray.shards.location import RemotePath, location
from mas_ray.shards.manifest import file_sha256
from mas_ray.shards.transfer import fetch_tree

_REGISTERED = "models:/"


def is_registered(name: str) -> bool:
    """Whether a checkpoint's name is one of an MLflow registry."""
    return name.startswith(_REGISTERED)


def is_local(name: str) -> bool:
    """Whether a checkpoint's name is one of a folder on a disk."""
    return not is_registered(name) and not isinstance(location(name), RemotePath)


@contextmanager
def named_checkpoint(name: str, tracking_uri: str | None) -> Generator[tuple[str, Path]]:
    """The folder of a checkpoint while the block runs, and its name, with the version in place of an alias.

    Args:
        name: A folder or its URI, ``packaged``, ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.
        tracking_uri: The MLflow store of the latter two; None: what ``MLFLOW_TRACKING_URI`` says.

    Raises:
        ValueError: A registered model's store is not named or not there, or a store does not have the checkpoint.
    """
    if is_local(name):
        yield name, checkpoint_folder(name)
        return
    with tempfile.TemporaryDirectory(prefix="mas-ray-") as scratch:
        folder = Path(scratch) / "checkpoint"
        version = fetch_checkpoint(name, tracking_uri, folder)
        yield version if is_registered(name) else name, folder


def fetch_checkpoint(name: str, tracking_uri: str | None, folder: Path) -> str:
    """Copy a checkpoint, wherever it is, into a folder that is not there yet; what tells this one from another.

    That is the name with its version for a registered one, and the hash of its weights for others.

    Raises:
        ValueError: As ``named_checkpoint``, or there is none.
    """
    if is_registered(name):
        return fetch_registered(name, tracking_uri, folder)
    place = checkpoint_folder(name) if is_local(name) else location(name)
    if not (place / "FORMAT").is_file():
        raise ValueError(f"{name}: no checkpoint here (FORMAT is missing)")
    if isinstance(place, RemotePath):
        fetch_tree(place, folder)
    else:
        shutil.copytree(place, folder)
    return f"sha256:{file_sha256(folder / 'model.pt')}"


def fetch_registered(name: str, tracking_uri: str | None, folder: Path) -> str:
    """Fetch a registered checkpoint into a folder that is not there yet; the name with its version.

    Raises:
        ValueError: As ``named_checkpoint``.
    """
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        raise ValueError(f"{name}: which MLflow store? Give a tracking URI or set MLFLOW_TRACKING_URI")
    from mas_ray.tracking.registry import download_checkpoint  # two seconds of imports, and only needed here

    return download_checkpoint(name, uri, folder)


def default_store(storage: Path) -> str | None:
    """The store that training keeps in a folder of runs if it is given none; None if there is none yet."""
    path = storage / "mlflow.db"
    return f"sqlite:///{path}" if path.is_file() else None
