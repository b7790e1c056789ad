"""The teacher of a stage as Ray tasks: the takes of the training split, shared out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import ray
import torch

from mas_ray.config.jobs import Workers
from mas_ray.config.stage import TeacherConfig
from mas_ray.inference import FrameSetEstimator
from mas_ray.pipelines.progress import note
from mas_ray.shards.location import location
from mas_ray.shards.manifest import read_manifest
from mas_ray.shards.transfer import local_copy
from mas_ray.training.data import open_split
from mas_ray.training.teacher import joined, save_teaching, teach


def write_teaching(path: Path, *, checkpoint: str, manifest: str, config: TeacherConfig, workers: Workers) -> None:
    """Let a checkpoint's networks teach the training split; nothing is done if they have.

    The checkpoint is a folder that all machines have, or its URI.
    """
    if path.is_file():
        return
    note(f"teacher: {checkpoint} predicts the training split")
    # DEFAULT: not in the placement group of a sweep's trial, which holds memory alone; tasks go there by themselves.
    part = cast(Any, ray.remote(num_cpus=workers.cpus_each, max_retries=2, scheduling_strategy="DEFAULT")(_teach_part))
    num = workers.num
    parts = [part.remote(checkpoint, manifest, config, workers.cpus_each, n, num) for n in range(num)]
    save_teaching(path, joined([torch.tensor(done) for done in ray.get(parts)]))


def _teach_part(
    checkpoint: str, manifest: str, config: TeacherConfig, num_cpus: float, part: int, num_parts: int
) -> Any:
    torch.set_num_threads(max(1, int(num_cpus)))
    with local_copy(location(checkpoint)) as folder:
        estimator = FrameSetEstimator.load(folder)
    path = location(manifest)
    frame_sets = open_split(path.parent, read_manifest(path), "train", estimator.cascade)
    return teach(estimator, frame_sets, config, part=part, num_parts=num_parts).numpy()
