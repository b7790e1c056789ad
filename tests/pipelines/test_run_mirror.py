import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from fresh_checkpoint import save_fresh
from hanging_server import hanging_server
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

import mas_ray.pipelines.run_mirror as module
from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.jobs import TrainJob
from mas_ray.pipelines.named_checkpoint import named_checkpoint
from mas_ray.pipelines.run_folder import CascadeResult, StageResult, read_tracking, stage_folder
from mas_ray.pipelines.run_mirror import Mirror, mirrored
from mas_ray.shards.manifest import file_sha256


@pytest.fixture
def job(tmp_path, tiny_dataset, empty_store, monkeypatch):
    """A run folder with a job and nothing done, in a storage whose store is there."""
    monkeypatch.setattr(module, "_EVERY_S", 0.05)
    monkeypatch.setattr(module, "_AGAIN_S", 0.1)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    job = TrainJob(manifest=str(tiny_dataset.manifest), storage=str(tmp_path), name="run", cascade=cpu_cascade())
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "job.json").write_text(codec.dumps(job))
    return job


def _run(job):
    return Path(job.storage) / job.name


def _report(job, index, epochs):
    """Let a stage report epochs and have a picture of the first."""
    folder = stage_folder(_run(job), job.cascade, index)
    (folder / "overlays" / "epoch0001").mkdir(parents=True, exist_ok=True)
    (folder / "overlays" / "epoch0001" / "s01-000000.jpg").write_bytes(b"picture")
    with (folder / "metrics.jsonl").open("a") as file:
        for epoch in epochs:
            line = {"epoch": epoch, "step": 10 * epoch + 9, "time_ms": 1000 + epoch, "loss/total": 1.0 / (epoch + 1)}
            file.write(json.dumps(line | {"validation/reconstruction": 0.5, "system/memory_gib": 1.0}) + "\n")


def _finish(job, index):
    name = job.cascade.stages[index].name
    folder = stage_folder(_run(job), job.cascade, index)
    chosen = save_fresh(folder / f"{name}-epoch0001", seed=index)
    result = StageResult(stage=name, checkpoint=str(chosen.relative_to(_run(job))), validation_reconstruction=0.5)
    (folder / "stage.json").write_text(codec.dumps(result))
    return result


def _finish_all(job, *, epochs=(0, 1, 2)):
    results = []
    for index in range(3):
        _report(job, index, epochs)
        results.append(_finish(job, index))
    result = CascadeResult(checkpoint=results[-1].checkpoint, stages=tuple(results))
    (_run(job) / "cascade.json").write_text(codec.dumps(result))


def _check_store(uri, *, num_epochs):
    """One parent and three stage runs, finished, each with every epoch once; and one version of the model."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("mas-ray")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 4
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    stages = {run.info.run_name: run for run in runs if run is not parent}
    assert set(stages) == {"torso", "shape_prior", "limbs"}
    for run in stages.values():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        for key in ("loss/total", "validation/reconstruction", "system/memory_gib"):
            history = client.get_metric_history(run.info.run_id, key)
            assert sorted(metric.step for metric in history) == [10 * epoch + 9 for epoch in range(num_epochs)]
        kept = {file.path for file in client.list_artifacts(run.info.run_id, "checkpoint")}
        assert {"checkpoint/model.pt", "checkpoint/optimizer.pt"} <= kept
        assert client.list_artifacts(run.info.run_id, "overlays/epoch0001")[0].path.endswith("s01-000000.jpg")
    (version,) = client.search_model_versions("name='mas-ray'")
    assert version.run_id == parent.info.run_id
    return client, parent


def test_a_finished_run_is_in_the_store_whole(job, tiny_dataset):
    with mirrored(job, _run(job)):
        _finish_all(job)
    client, parent = _check_store(f"sqlite:///{job.storage}/mlflow.db", num_epochs=3)
    tags = parent.data.tags
    assert tags["dataset.manifest_sha256"] == file_sha256(tiny_dataset.manifest)
    assert tags["dataset.version"] == "1"
    for package in ("python", "torch", "ray", "mlflow", "mas_ray"):
        assert tags[f"{package}.version"]
    assert parent.data.params["cascade.batch_size"] == "4"
    assert {"job.json", "environment.json"} <= {file.path for file in client.list_artifacts(parent.info.run_id)}
    record = read_tracking(_run(job))
    assert record is not None
    assert (record.complete, record.model, record.run_id) == (True, "models:/mas-ray/1", parent.info.run_id)


def test_a_complete_store_is_not_asked_again(job, monkeypatch):
    with mirrored(job, _run(job)):
        _finish_all(job)

    def fail(*_, **__):
        raise AssertionError("the store was asked")

    monkeypatch.setattr("mas_ray.tracking.mlflow_runs.open_store", fail)
    with mirrored(job, _run(job)):
        pass


def test_a_stage_that_is_repeated_and_a_model_that_is_wanted_later_are_handed_over(job):
    with mirrored(replace(job, registered_model=None), _run(job)):
        _finish_all(job)
    with mirrored(job, _run(job)):
        pass
    _check_store(f"sqlite:///{job.storage}/mlflow.db", num_epochs=3)
    shutil.rmtree(stage_folder(_run(job), job.cascade, 2))
    with mirrored(job, _run(job)):
        _report(job, 2, [0, 1, 2, 3])
        _finish(job, 2)
    client = MlflowClient(tracking_uri=f"sqlite:///{job.storage}/mlflow.db")
    (limbs,) = (run for run in _stage_runs(client) if run.info.run_name == "limbs")
    assert len(client.get_metric_history(limbs.info.run_id, "loss/total")) == 4
    record = read_tracking(_run(job))
    assert record is not None
    assert record.complete


def test_metrics_come_while_the_run_goes_on(job):
    client = MlflowClient(tracking_uri=f"sqlite:///{job.storage}/mlflow.db")
    with mirrored(job, _run(job)):
        _report(job, 0, [0])
        deadline = time.monotonic() + 20
        while not (runs := _stage_runs(client)) or "loss/total" not in runs[0].data.metrics:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert runs[0].info.status == "RUNNING"
        for index in (1, 2):
            _report(job, index, [0])
        _finish_all(job, epochs=(1, 2))
    _check_store(f"sqlite:///{job.storage}/mlflow.db", num_epochs=3)


def _stage_runs(client):
    experiment = client.get_experiment_by_name("mas-ray")
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    return [run for run in runs if "mlflow.parentRunId" in run.data.tags]


@pytest.mark.parametrize(("error", "status"), [(RuntimeError("fault"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_a_run_that_stops_says_how_and_goes_on_as_the_same(error, status, job):
    def stop():
        with mirrored(job, _run(job)):
            _report(job, 0, [0, 1])
            raise error

    with pytest.raises(type(error)):
        stop()
    client = MlflowClient(tracking_uri=f"sqlite:///{job.storage}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("mas-ray").experiment_id])
    assert [run.info.status for run in runs] == [status] * 2
    with mirrored(job, _run(job)):
        _report(job, 0, [1])  # repeated after the fault
        _finish_all(job, epochs=(2,))
        for index in (1, 2):
            _report(job, index, [0, 1])
    _check_store(f"sqlite:///{job.storage}/mlflow.db", num_epochs=3)


@pytest.mark.slow
def test_a_killed_driver_leaves_what_the_next_one_takes_up(job):
    """Killed at some point of the hand-over, three times over."""
    _finish_all(job)
    code = (
        "import sys\nfrom pathlib import Path\nfrom mas_ray.pipelines.run_folder import read_job\n"
        "from mas_ray.pipelines.run_mirror import Mirror\nimport mlflow\n"
        "run = Path(sys.argv[1])\nprint('go', flush=True)\nMirror(read_job(run), run).update('FINISHED')\n"
    )
    for fraction in (0.1, 0.3, 0.6):
        process = subprocess.Popen([sys.executable, "-c", code, str(_run(job))], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(2 * fraction)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    Mirror(job, _run(job)).update("FINISHED")
    _check_store(f"sqlite:///{job.storage}/mlflow.db", num_epochs=3)


def test_a_lost_record_doubles_nothing(job):
    with mirrored(job, _run(job)):
        _finish_all(job)
    (_run(job) / "tracking.json").unlink()
    with mirrored(job, _run(job)):
        pass
    _check_store(f"sqlite:///{job.storage}/mlflow.db", num_epochs=3)


def test_a_run_folder_made_anew_is_another_run(job):
    """Of the same path; the first one's metrics, parameters and model stay its own."""
    mirror = Mirror(job, _run(job))
    _finish_all(job)
    mirror.update("FINISHED")
    shutil.rmtree(_run(job))
    _run(job).mkdir()
    (_run(job) / "job.json").write_text(codec.dumps(job))
    mirror = Mirror(job, _run(job))
    _finish_all(job)
    mirror.update("FINISHED")
    client = MlflowClient(tracking_uri=f"sqlite:///{job.storage}/mlflow.db")
    assert len(client.search_runs([client.get_experiment_by_name("mas-ray").experiment_id])) == 8
    first, second = sorted(client.search_model_versions("name='mas-ray'"), key=lambda found: int(found.version))
    assert first.run_id != second.run_id
    assert client.get_model_version_by_alias("mas-ray", "candidate").version == second.version


def test_a_store_that_loses_the_run_gets_it_again(job):
    mirror = Mirror(job, _run(job))
    _report(job, 0, [0, 1, 2])
    mirror.update()
    client = MlflowClient(tracking_uri=f"sqlite:///{job.storage}/mlflow.db")
    for run in client.search_runs([client.get_experiment_by_name("mas-ray").experiment_id]):
        client.delete_run(run.info.run_id)
    results = [_finish(job, 0)]
    for index in (1, 2):
        _report(job, index, [0, 1, 2])
        results.append(_finish(job, index))
    result = CascadeResult(checkpoint=results[-1].checkpoint, stages=tuple(results))
    (_run(job) / "cascade.json").write_text(codec.dumps(result))
    with pytest.raises(MlflowException):
        mirror.update("FINISHED")
    mirror.update("FINISHED")
    _check_store(f"sqlite:///{job.storage}/mlflow.db", num_epochs=3)


def test_another_store_gets_everything_too(job, tmp_path, empty_store):
    with mirrored(job, _run(job)):
        _finish_all(job)
    (tmp_path / "other").mkdir()
    shutil.copy(empty_store, tmp_path / "other" / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'other' / 'mlflow.db'}"
    with mirrored(replace(job, tracking_uri=uri), _run(job)):
        pass
    _check_store(uri, num_epochs=3)


def test_a_new_run_with_a_store_that_hangs_is_refused_at_once(job, monkeypatch):
    with hanging_server(monkeypatch) as door:
        started = time.monotonic()
        with (
            pytest.raises(ValueError, match="tracking_uri: the MLflow store cannot be opened"),
            mirrored(replace(job, tracking_uri=door.uri), _run(job)),
        ):
            raise AssertionError("training began")
        assert time.monotonic() - started < 10
        assert door.asked


def test_a_store_that_hangs_later_delays_nothing_and_is_given_up_at_the_end(job, monkeypatch, caplog, capsys):
    monkeypatch.setattr(module, "_PATIENCE_S", 1.0)
    with hanging_server(monkeypatch) as door, caplog.at_level(logging.WARNING):
        job = replace(job, tracking_uri=door.uri)
        record = module.TrackingRecord(tracking_uri=door.uri, run_id="before")
        (_run(job) / "tracking.json").write_text(codec.dumps(record))
        started = time.monotonic()
        with mirrored(job, _run(job)):
            time.sleep(0.2)  # a request hangs now
            begun = time.monotonic()
            _finish_all(job)
            assert time.monotonic() - begun < 1.0
        assert time.monotonic() - started < 15
        assert door.asked
    assert len([record for record in caplog.records if record.name.startswith("mas_ray")]) == 1
    assert "the same command again hands it over" in capsys.readouterr().err
    read = read_tracking(_run(job))
    assert read is not None
    assert not read.complete


def test_an_artifact_store_with_errors_of_its_own_is_asked_again(job, monkeypatch):
    """Those of boto3 are plain exceptions."""
    log_artifacts, calls = MlflowClient.log_artifacts, []

    def fail_at_first(*arguments, **named):
        calls.append(arguments)
        if len(calls) < 3:
            raise Exception("Failed to upload model.pt: the endpoint is away")
        log_artifacts(*arguments, **named)

    monkeypatch.setattr(MlflowClient, "log_artifacts", fail_at_first)
    with mirrored(job, _run(job)):
        _finish_all(job)
        deadline = time.monotonic() + 20
        while len(calls) < 3:
            assert time.monotonic() < deadline, "it was not asked again"
            time.sleep(0.05)
    _check_store(f"sqlite:///{job.storage}/mlflow.db", num_epochs=3)


@pytest.mark.slow
def test_a_server_that_hangs_and_then_answers_gets_all_of_it(job, tmp_path, monkeypatch):
    """A real tracking server behind a door: shut as the run goes on, open before its end."""
    with _mlflow_server(tmp_path / "server") as server, hanging_server(monkeypatch, server=server) as door:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
        job = replace(job, tracking_uri=door.uri)
        record = module.TrackingRecord(tracking_uri=door.uri, run_id="before")
        (_run(job) / "tracking.json").write_text(codec.dumps(record))
        with mirrored(job, _run(job)):
            _report(job, 0, [0, 1, 2])
            time.sleep(6)
            assert door.asked
            door.open()
            for index in (1, 2):
                _report(job, index, [0, 1, 2])
            results = [_finish(job, index) for index in range(3)]
            result = CascadeResult(checkpoint=results[-1].checkpoint, stages=tuple(results))
            (_run(job) / "cascade.json").write_text(codec.dumps(result))
        read = read_tracking(_run(job))
        assert read is not None
        assert read.complete
        _check_store(server, num_epochs=3)
        with named_checkpoint("models:/mas-ray@candidate", server) as (name, folder):
            assert name == "models:/mas-ray/1"
            assert (folder / "model.pt").is_file()
        assert not folder.exists()


@contextmanager
def _mlflow_server(folder):
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    deadline = time.monotonic() + 90
    try:
        with requests.Session() as session:
            session.trust_env = False
            while not _answers(session, f"http://127.0.0.1:{port}/health"):
                assert time.monotonic() < deadline, (folder / "log").read_text()[-2000:]
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(session, address):
    try:
        return session.get(address, timeout=2).ok
    except requests.RequestException:
        return False
