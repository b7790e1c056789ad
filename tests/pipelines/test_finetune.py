import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fresh_checkpoint import save_fresh
from single_views import write_single_views

from mas_ray.checkpoint import load_checkpoint
from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade, mixed_view_finetune
from mas_ray.config.jobs import TrainJob, Workers
from mas_ray.config.stage import TeacherConfig
from mas_ray.pipelines.run_folder import read_cascade_result
from mas_ray.tracking.spool import read_spool
from mas_ray.training.teacher import load_teaching


@pytest.mark.slow
@pytest.mark.ray
def test_two_workers_finetune_a_checkpoint_that_also_teaches(tmp_path, tiny_dataset):
    """At a rate of almost nothing the weights are the initial checkpoint's, which the job's seed would not give."""
    cascade = mixed_view_finetune(cpu_cascade())
    stage = replace(
        cascade.stages[0],
        learning_rates=((1, 1e-12),),
        teacher=TeacherConfig(search_arms=False),
        anchor="teacher",
        num_anchor_steps=10,
    )
    job = TrainJob(
        manifest=str(tiny_dataset.manifest),
        storage=str(tmp_path / "runs"),
        cascade=replace(cascade, stages=(stage,), steps_per_epoch=4),
        single_view_manifest=str(write_single_views(tmp_path / "single", tiny_dataset.manifest)),
        initial=str(save_fresh(tmp_path / "initial", seed=1)),
        workers=Workers(num=2),
    )
    (tmp_path / "job.json").write_text(codec.dumps(job))
    command = [sys.executable, "-m", "mas_ray.cli.main", "train", "--job", str(tmp_path / "job.json")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-3000:]

    run = tmp_path / "runs" / job.name
    initial = load_checkpoint(Path(job.initial))
    finetuned = load_checkpoint(run / read_cascade_result(run).checkpoint)
    assert finetuned.job.cascade == job.cascade
    for name, value in initial.detector.items():
        torch.testing.assert_close(finetuned.detector[name], value, rtol=0, atol=1e-9)
    joints_mm = load_teaching(run / "stages" / "0-mixed_view" / "teacher.pt")
    assert joints_mm.isfinite().all()
    (epoch,) = read_spool(run / "stages" / "0-mixed_view" / "metrics.jsonl")
    assert epoch["step"] == 3
    assert epoch["loss/total"] > 0
