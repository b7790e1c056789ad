"""A checkpoint of networks that were never trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from mas_ray.checkpoint import Progress, save_checkpoint
from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.config.jobs import TrainJob
from mas_ray.skeleton import H36M_18
from mas_ray.training.state import create_state


def save_fresh(folder: Path, *, seed: int, recipe: CascadeConfig | None = None) -> Path:
    """Write a checkpoint as if a recipe had ended, with the weights that a seed gives, and return the folder.

    Without a recipe it is the CPU cascade.
    """
    folder.mkdir()
    job = TrainJob(manifest="m.json", storage="runs", cascade=replace(recipe or cpu_cascade(), seed=seed))
    state = create_state(job.cascade, H36M_18, torch.device("cpu"))
    save_checkpoint(
        folder,
        job,
        skeleton=H36M_18,
        progress=Progress(
            stage=len(job.cascade.stages) - 1,
            stage_name=job.cascade.stages[-1].name,
            num_epochs=1,
            num_steps=1,
            validation_reconstruction=1.0,
            knee_chirality=None,
        ),
        detector=state.detector.state_dict(),
        shape_prior=state.shape_prior.state_dict(),
        optimizer=state.optimizer.state_dict(),
    )
    return folder
