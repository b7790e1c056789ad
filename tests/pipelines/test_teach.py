from __future__ import annotations

import pytest
import torch
from fresh_checkpoint import save_fresh

from mas_ray.config.jobs import Workers
from mas_ray.config.stage import TeacherConfig
from mas_ray.inference import FrameSetEstimator
from mas_ray.pipelines import session
from mas_ray.pipelines.teach import write_teaching
from mas_ray.shards.manifest import read_manifest
from mas_ray.training.data import open_split
from mas_ray.training.teacher import load_teaching, teach


def test_a_teaching_that_is_there_is_left_alone(tmp_path):
    """Without Ray, and without looking at the checkpoint."""
    (tmp_path / "teacher.pt").write_bytes(b"as it was")
    write_teaching(
        tmp_path / "teacher.pt",
        checkpoint=str(tmp_path / "none"),
        manifest=str(tmp_path / "none.json"),
        config=TeacherConfig(),
        workers=Workers(),
    )
    assert (tmp_path / "teacher.pt").read_bytes() == b"as it was"


@pytest.mark.slow
@pytest.mark.ray
def test_workers_teach_what_one_process_does(tmp_path, tiny_dataset):
    """Two workers and one take: one of them has nothing to do."""
    checkpoint = save_fresh(tmp_path / "checkpoint", seed=3)
    with session.connect(num_cpus=2):
        write_teaching(
            tmp_path / "teacher.pt",
            checkpoint=str(checkpoint),
            manifest=str(tiny_dataset.manifest),
            config=TeacherConfig(),
            workers=Workers(num=2),
        )
    estimator = FrameSetEstimator.load(checkpoint)
    manifest = read_manifest(tiny_dataset.manifest)
    train = open_split(tiny_dataset.manifest.parent, manifest, "train", estimator.cascade)
    written = load_teaching(tmp_path / "teacher.pt")
    assert torch.isfinite(written).all()
    torch.testing.assert_close(written, teach(estimator, train, TeacherConfig()), rtol=1e-4, atol=0.1)
