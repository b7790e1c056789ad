"""What a job may choose about how it is trained, all of it at once through Ray Train."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from mas_ray.checkpoint import load_checkpoint, load_trained
from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.jobs import BadSteps, Execution, TrainJob
from mas_ray.config.yardstick import Yardstick
from mas_ray.pipelines.run_folder import read_cascade_result
from mas_ray.tracking.spool import read_spool


@pytest.mark.slow
@pytest.mark.ray
def test_a_run_with_every_choice_made(tmp_path, tiny_dataset):
    torso = replace(cpu_cascade().stages[0], learning_rates=((5, 2e-3),))
    job = TrainJob(
        manifest=str(tiny_dataset.manifest),
        storage=str(tmp_path / "runs"),
        cascade=replace(cpu_cascade(), stages=(torso,), steps_per_epoch=2, weight_average=0.9),
        execution=Execution(precision="bfloat16", deterministic=True),
        bad_steps=BadSteps(skipped_per_epoch=1, explodes_above=100.0),
        num_checkpoints_kept=1,
        yardstick=Yardstick(),
    )
    (tmp_path / "job.json").write_text(codec.dumps(job))
    command = [sys.executable, "-m", "mas_ray.cli.main", "train", "--job", str(tmp_path / "job.json")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert result.returncode == 0, result.stderr[-3000:]

    run = tmp_path / "runs" / job.name
    epochs = read_spool(run / "stages" / "0-torso" / "metrics.jsonl")
    assert [epoch["skipped_steps"] for epoch in epochs] == [0.0] * 5
    assert all(epoch["loss_peak"] >= 1.0 for epoch in epochs)
    assert len({epoch["yardstick/score"] for epoch in epochs}) == 5
    assert all(epoch["yardstick/score"] == epoch["yardstick/skeleton_mask"] for epoch in epochs)
    scores = {f"torso-epoch{epoch['epoch'] + 1:04d}": epoch["validation/reconstruction"] for epoch in epochs}
    kept = {path.parent.name for path in (run / "stages" / "0-torso").glob("*/FORMAT")}
    assert kept == {min(scores, key=lambda name: scores[name]), "torso-epoch0005"}
    (stage,) = read_cascade_result(run).stages
    assert stage.validation_reconstruction == min(scores.values())
    average = load_checkpoint(run / stage.checkpoint).detector
    trained = load_trained(run / stage.checkpoint)["detector"]
    assert any((average[name] != tensor).any() for name, tensor in trained.items())
