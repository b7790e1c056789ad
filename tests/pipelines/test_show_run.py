import fcntl
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mas_ray.cli.main import main
from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.jobs import TrainJob
from mas_ray.pipelines.run_folder import CascadeResult, StageResult, TrackingRecord, stage_folder
from mas_ray.pipelines.show_run import RunSummary, summarise_run


@pytest.fixture
def job(tmp_path):
    """The run folder of a training that is in its second stage, where an epoch was repeated."""
    job = TrainJob(
        manifest=str(tmp_path / "data set" / "manifest.json"),
        storage=str(tmp_path),
        name="run",
        cascade=cpu_cascade(),
        tracking_uri="http://me:secret@tracking:5000",
    )
    run = tmp_path / "run"
    run.mkdir()
    (run / "job.json").write_text(codec.dumps(job))
    (run / "run.json").write_text("{}")
    _report(job, 0, [0, 1, 2])
    _finish(job, 0)
    _report(job, 1, [0, 1, 1, 2])
    return job


def _report(job, index, epochs):
    folder = stage_folder(_run(job), job.cascade, index)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.jsonl").open("a") as file:
        for epoch in epochs:
            figures = {"loss/total": 1.0 / (epoch + 1), "validation/reconstruction": 0.1 + abs(epoch - 1)}
            line = {"epoch": epoch, "images_per_s": 50.0, "data_wait_share": 0.02, **figures}
            file.write(json.dumps(line) + "\n")


def _finish(job, index):
    name = job.cascade.stages[index].name
    folder = stage_folder(_run(job), job.cascade, index)
    chosen = folder / f"{name}-epoch0002"
    chosen.mkdir()
    (chosen / "FORMAT").touch()
    result = StageResult(stage=name, checkpoint=str(chosen.relative_to(_run(job))), validation_reconstruction=0.1)
    (folder / "stage.json").write_text(codec.dumps(result))
    return result


def _run(job):
    return Path(job.storage) / job.name


def test_a_run_on_its_way(job):
    summary = summarise_run(_run(job))
    torso, shape_prior, limbs = summary.stages
    assert (torso.state, torso.num_epochs, torso.of_epochs) == ("finished", 3, 12)
    assert torso.checkpoint == "stages/0-torso/torso-epoch0002"
    assert (torso.loss, torso.reconstruction, torso.best_reconstruction) == (1 / 3, 1.1, 0.1)
    assert torso.repeated_epochs == 0
    assert (shape_prior.state, shape_prior.num_epochs, shape_prior.of_epochs) == ("begun", 3, 8)
    assert (shape_prior.repeated_epochs, shape_prior.checkpoint) == (1, None)
    assert (shape_prior.images_per_s, shape_prior.data_wait_share) == (50.0, 0.02)
    assert (limbs.state, limbs.num_epochs, limbs.loss, limbs.best_reconstruction) == ("not begun", 0, None, None)
    assert summary.checkpoint is None
    assert summary.next == (f"mas-ray train --job {_run(job) / 'job.json'}",)
    assert summary.tracking_uri == "http://tracking:5000", "passwords are not shown"


def test_a_finished_run_says_how_to_use_it(job, tmp_path):
    job = replace(job, tracking_uri=None)
    (_run(job) / "job.json").write_text(codec.dumps(job))
    for index in (1, 2):
        _report(job, index, [3])
    last = [_finish(job, index) for index in (1, 2)][-1]
    (_run(job) / "cascade.json").write_text(codec.dumps(CascadeResult(checkpoint=last.checkpoint, stages=(last,))))
    summary = summarise_run(_run(job))
    again, predict, evaluate, report, look = summary.next
    assert again == f"mas-ray train --job {_run(job) / 'job.json'}", "MLflow has nothing yet"
    checkpoint = _run(job) / last.checkpoint
    assert predict.startswith(f"mas-ray predict --checkpoint {checkpoint} --manifest '{job.manifest}'")
    assert evaluate.startswith("mas-ray evaluate")
    assert report.startswith("mas-ray report")
    assert look == f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db"
    assert summary.checkpoint == str(checkpoint)
    assert not summary.tracked

    record = TrackingRecord(tracking_uri="sqlite:///x", run_id="r", model="models:/mas-ray/2", complete=True)
    (_run(job) / "tracking.json").write_text(codec.dumps(record))
    assert summarise_run(_run(job)) == summary, "another store has it, the job's has not"
    record = replace(record, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    (_run(job) / "tracking.json").write_text(codec.dumps(record))
    summary = summarise_run(_run(job))
    assert (summary.model, summary.tracked) == ("models:/mas-ray/2", True)
    assert summary.next[0] == predict


def test_a_run_that_is_trained_now_has_no_next_command(job):
    with (_run(job) / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        summary = summarise_run(_run(job))
        assert summary.training_now
        assert summary.next == ()
    assert not summarise_run(_run(job)).training_now


def test_the_verb_prints_it_and_loads_nothing_heavy(job):
    code = (
        "import sys; from mas_ray.cli.main import main; status = main(['show', sys.argv[1]]);"
        "assert not {'torch', 'ray', 'mlflow', 'cv2'} & set(sys.modules), sorted(sys.modules); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, str(_run(job))]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["torso", "finished", "0.3333", "1.1", "0.1", "50", "2.0", "%", "-"] in lines
    assert ["shape_prior", "epoch", "3", "of", "8", "0.3333", "1.1", "0.1", "50", "2.0", "%", "1"] in lines
    assert ["limbs", "not", "begun", "-", "-", "-", "-", "-", "-"] in lines
    assert "stages/0-torso/torso-epoch0002" in result.stdout
    assert "secret" not in result.stdout


def test_json(job, capsys):
    assert main(["show", str(_run(job)), "--json"]) == 0
    assert codec.loads(RunSummary, capsys.readouterr().out) == summarise_run(_run(job))


def test_a_folder_that_is_neither_is_one_line(tmp_path, capsys):
    assert main(["show", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "no dataset (manifest.json), run" in error
    assert error.count("\n") == 1
