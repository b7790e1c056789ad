"""Folders of sweeps as they are while trials run and when they have ended, without any training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.jobs import TrainJob
from mas_ray.config.search_space import Choice, LogUniform
from mas_ray.config.sweep import RandomSearch, TuneJob
from mas_ray.config.yardstick import Yardstick
from mas_ray.pipelines.run_folder import StageResult, stage_folder
from mas_ray.pipelines.sweep_folder import begin_trial, trial_folder
from mas_ray.shards.write import write_text

WEIGHT = "cascade.stages.*.loss_weights.skeleton_mask"


def sweep_job(storage: Path, *, manifest: str = "manifest.json", **options) -> TuneJob:
    """A sweep of the first stage, of three epochs, over one number and one tuple of names."""
    torso = replace(cpu_cascade().stages[0], learning_rates=((3, 1e-3),))
    return TuneJob(
        base=TrainJob(
            manifest=manifest,
            storage=str(storage),
            name="sweep",
            cascade=replace(cpu_cascade(), stages=(torso,)),
            yardstick=Yardstick(),
            registered_model=None,
            tracking_uri=f"sqlite:///{storage / 'mlflow.db'}",
        ),
        **{
            "space": (
                LogUniform(field=WEIGHT, low=0.1, high=10.0, scales=True),
                Choice(field="without", values=((), ("geodesic",))),
            ),
            "search": RandomSearch(num_trials=4),
            **options,
        },
    )


def write_trial(job: TuneJob, number: int, weight: float, scores: list[float]) -> Path:
    """A trial that has told these scores, one per epoch; with three its training is finished."""
    sweep = Path(job.base.storage) / job.base.name
    fields = [dimension.field for dimension in job.space]
    begin_trial(sweep, number, {field: weight if field == WEIGHT else () for field in fields})
    folder = trial_folder(sweep, number)
    trial = replace(job.base, storage=str(folder.parent), name=folder.name)
    write_text(folder / "job.json", codec.dumps(trial))
    stage = stage_folder(folder, trial.cascade, 0)
    stage.mkdir(parents=True)
    with (stage / "metrics.jsonl").open("w") as file:
        for epoch, score in enumerate(scores):
            line = {"epoch": epoch, "step": 50 * epoch + 49, "time_ms": 1000 + epoch, "loss/total": 1.0}
            file.write(json.dumps(line | {"validation/reconstruction": score * 2, "yardstick/score": score}) + "\n")
    if len(scores) == 3:
        chosen = min(range(3), key=lambda epoch: scores[epoch])
        checkpoint = stage / f"torso-epoch{chosen + 1:04d}"
        checkpoint.mkdir()
        (checkpoint / "FORMAT").touch()
        result = StageResult(
            stage="torso",
            checkpoint=str(checkpoint.relative_to(folder)),
            validation_reconstruction=scores[chosen] * 2,
        )
        write_text(stage / "stage.json", codec.dumps(result))
    return folder
