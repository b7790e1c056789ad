"""The model registry: a run's final checkpoint as a version of a registered MLflow model, and back again."""

from __future__ import annotations

import re
import shutil
import tempfile
import warnings
from pathlib import Path

import mlflow.artifacts
import mlflow.pyfunc
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

import mas_ray
from mas_ray.checkpoint import load_checkpoint
from mas_ray.tracking.mlflow_runs import STORE_ERRORS, Runs, first_line, open_store

ALIAS = "candidate"
_CHECKPOINT = "checkpoint"  # the folder's name within the model
_NAME = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")


def register(runs: Runs, run_id: str, checkpoint: Path, *, name: str) -> str:
    """Make a run's final checkpoint the next version of a registered model, once; it gets the alias ``candidate``.

    Whatever a call that was cut short left is taken up again, not doubled.

    Args:
        runs: The store.
        run_id: The run that made it; it has one version at most.
        checkpoint: Its folder. What only going on needs (the optimiser's state) is left out.
        name: Of the registered model, which is created at need.

    Returns:
        The version, as ``models:/<name>/<version>``.

    Raises:
        STORE_ERRORS: The store fails.
    """
    client = runs.client
    found = client.search_model_versions(f"name='{name}' and run_id='{run_id}'")
    version = int(found[0].version if found else _new_version(runs, run_id, checkpoint, name))
    if _version_of_alias(client, name) < version:  # a later run's stays
        client.set_registered_model_alias(name, ALIAS, str(version))
    return f"models:/{name}/{version}"


def download_checkpoint(name: str, tracking_uri: str, folder: Path) -> str:
    """Fetch a registered checkpoint.

    Args:
        name: ``models:/<name>@<alias>`` or ``models:/<name>/<version>``.
        tracking_uri: The store.
        folder: Where the checkpoint goes; it must not exist yet.

    Returns:
        The name with the version that the alias stands for at this moment.

    Raises:
        ValueError: The name is of another form, the store has no such model, or it was not made by mas-ray.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name}: expected models:/NAME@ALIAS or models:/NAME/VERSION")
    client = open_store(tracking_uri, storage=folder.parent)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        try:
            version = match["version"] or client.get_model_version_by_alias(match["name"], match["alias"]).version
            source = client.get_model_version_download_uri(match["name"], str(version))
            if source.startswith("models:/"):
                source = client.get_logged_model(source.removeprefix("models:/")).artifact_location
            found = mlflow.artifacts.download_artifacts(
                artifact_uri=f"{source}/data/{_CHECKPOINT}", dst_path=scratch, tracking_uri=client.tracking_uri
            )
        except STORE_ERRORS as error:
            raise ValueError(f"{name}: not a model of mas-ray in this MLflow store: {first_line(error)}") from None
        shutil.move(found, folder)
    return f"models:/{match['name']}/{version}"


def save_model(folder: Path, checkpoint: Path, *, run_id: str, model_id: str | None = None) -> None:
    """Write a checkpoint as an MLflow model into a folder that does not exist yet."""
    trained = load_checkpoint(checkpoint)
    joints = len(trained.skeleton.joints)
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an input example would be a picture that says nothing
        data = Path(scratch) / _CHECKPOINT
        shutil.copytree(checkpoint, data, ignore=shutil.ignore_patterns("optimizer.pt", ".*"))
        mlflow.pyfunc.save_model(
            folder,
            loader_module="mas_ray.tracking.pose_model",
            data_path=str(data),
            mlflow_model=Model(run_id=run_id, model_id=model_id),
            signature=ModelSignature(
                inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))]),
                outputs=Schema(
                    [
                        TensorSpec(np.dtype(np.float32), (-1, joints, 2), "keypoints_ndc"),
                        TensorSpec(np.dtype(np.float32), (-1, joints), "depth_mm"),
                        TensorSpec(np.dtype(np.float32), (-1, joints), "confidence"),
                    ]
                ),
            ),
            metadata={
                "joints": list(trained.skeleton.joints),
                "background": trained.job.cascade.detector.background,
                "stage": trained.progress.stage_name,
                "validation_reconstruction": trained.progress.validation_reconstruction,
            },
            pip_requirements=[f"mas-ray=={mas_ray.__version__}"],
        )


def _new_version(runs: Runs, run_id: str, checkpoint: Path, name: str) -> str:
    client = runs.client
    model = _logged_model(runs, run_id, checkpoint, name)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # A server finds its own models by id; where this process is the registry, MLflow would look in its global store.
    local = not client.tracking_uri.startswith("http")
    source = model.artifact_location if local else f"models:/{model.model_id}"
    return str(client.create_model_version(name, source=source, run_id=run_id, model_id=model.model_id).version)


def _logged_model(runs: Runs, run_id: str, checkpoint: Path, name: str) -> LoggedModel:
    """The run's model in the store, logged whole."""
    client = runs.client
    found = client.search_logged_models([runs.experiment], filter_string=f"source_run_id='{run_id}'")
    model = found[0] if found else client.create_logged_model(runs.experiment, name=name, source_run_id=run_id)
    if model.status != LoggedModelStatus.READY:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            save_model(folder, checkpoint, run_id=run_id, model_id=model.model_id)
            client.log_model_artifacts(model.model_id, str(folder))
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return model


def _version_of_alias(client: MlflowClient, name: str) -> int:
    """The version that has the alias now; 0 if none has."""
    return int(client.get_registered_model(name).aliases.get(ALIAS, 0))
