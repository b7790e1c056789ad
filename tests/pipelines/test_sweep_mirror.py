import shutil
from pathlib import Path

from made_up_sweep import sweep_job, write_trial
from mlflow import MlflowClient

from mas_ray.config import codec
from mas_ray.pipelines.sweep_folder import Outcome, end_trial, read_trials
from mas_ray.pipelines.sweep_mirror import SweepMirror
from mas_ray.pipelines.sweep_summary import write_summary


def _runs(storage: Path):
    client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
    return client, client.search_runs([e.experiment_id for e in client.search_experiments()])


def test_a_sweep_is_a_run_with_a_nested_run_per_trial(tmp_path, tiny_dataset, empty_store):
    """However often it is handed over, and by whichever process."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    job = sweep_job(tmp_path, manifest=str(tiny_dataset.manifest))
    sweep = tmp_path / "sweep"
    for number, scores in enumerate(([0.5, 0.4, 0.3], [0.9], [0.8, 0.7])):
        write_trial(job, number, 1.0 + number, scores)
    (sweep / "sweep.json").write_text(codec.dumps(job))
    end_trial(sweep, 0, Outcome(ending="finished"))
    SweepMirror(job, sweep).update()
    end_trial(sweep, 1, Outcome(ending="stopped"))
    write_summary(job, sweep, read_trials(sweep))
    mirror = SweepMirror(job, sweep)
    for status in (None, "KILLED", None, "FINISHED"):
        mirror.update(status)
    client, runs = _runs(tmp_path)
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    trials = {r.info.run_name: r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert len(runs) == 1 + 3 + 3  # a stage below each trial
    assert {name: run.info.status for name, run in trials.items()} == {
        "0000": "FINISHED",
        "0001": "KILLED",
        "0002": "RUNNING",
    }
    assert trials["0000"].data.metrics["score"] == 0.3
    history = client.get_metric_history(trials["0002"].info.run_id, "yardstick/score")
    assert [(metric.step, metric.value) for metric in history] == [(1, 0.8), (2, 0.7)]
    assert trials["0000"].data.params["cascade.stages.0.name"] == "torso"
    assert parent.data.params["search.num_trials"] == "4"
    assert {"sweep.json", "sweep.html", "trials.md"} <= {
        file.path for file in client.list_artifacts(parent.info.run_id)
    }


def test_a_trial_that_failed_before_it_began_is_there_with_its_reason(tmp_path, tiny_dataset, empty_store):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    job = sweep_job(tmp_path, manifest=str(tiny_dataset.manifest))
    sweep = tmp_path / "sweep"
    write_trial(job, 0, 1.0, [])
    end_trial(sweep, 0, Outcome(ending="failed", reason="no such manifest"))
    mirror = SweepMirror(job, sweep)
    mirror.update("FINISHED")
    _, runs = _runs(tmp_path)
    (trial,) = [run for run in runs if run.info.run_name == "0000"]
    assert (trial.info.status, trial.data.tags["mas_ray.failure"]) == ("FAILED", "no such manifest")
