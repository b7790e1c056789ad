"""Checkpoints by name: a folder, ``packaged``, or a model of an MLflow registry."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from mas_ray.checkpoint import checkpoint_folder

_REGISTERED = "models:/"


def is_registered(name: str) -> bool:
    """Whether a checkpoint's name is one of an MLflow registry."""
    return name.startswith(_REGISTERED)


@contextmanager
def named_checkpoint(name: str, tracking_uri: str | None) -> Generator[tuple[str, Path]]:
    """The folder of a checkpoint while the block runs, and its name, with the version in place of an alias.

    Args:
        name: A folder, ``packaged``, ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.
        tracking_uri: The MLflow store of the latter two; None: what ``MLFLOW_TRACKING_URI`` says.

    Raises:
        ValueError: A registered model's store is not named or not there, or the store does not have it.
    """
    if not is_registered(name):
        yield name, checkpoint_folder(name)
        return
    with tempfile.TemporaryDirectory(prefix="mas-ray-") as scratch:
        folder = Path(scratch) / "checkpoint"
        yield fetch_registered(name, tracking_uri, folder), folder


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
