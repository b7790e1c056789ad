import logging
import shutil

import pytest
from mlflow import MlflowClient

from mas_ray.tracking.mlflow_runs import STORE_ERRORS, Runs, open_store, open_tracker


def _epoch(number, loss):
    return {
        "epoch": number,
        "step": number * 10 + 9,
        "time_ms": 1000 + number,
        "stage": "torso",
        "loss/total": loss,
        "validation/reconstruction": loss / 2,
    }


@pytest.fixture(autouse=True)
def _store(tmp_path, empty_store):
    shutil.copy(empty_store, tmp_path / "mlflow.db")


def _runs(tmp_path):
    return Runs(open_store(None, storage=tmp_path), tmp_path)


def _history(tmp_path, run, key="loss/total"):
    history = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}").get_metric_history(run, key)
    return sorted((metric.step, metric.value) for metric in history)


def test_runs_nest_and_are_found_again(tmp_path):
    runs = _runs(tmp_path)
    parent = runs.find_or_create("k", "cascade")
    stage = runs.find_or_create("k/torso", "torso", parent=parent)
    runs.log_params(parent, {"seed": 0})
    runs.log_tags(parent, {"python.version": "3.0"})
    runs.log_epochs(stage, [_epoch(0, 2.0)])

    again = _runs(tmp_path)
    assert again.find_or_create("k", "cascade") == parent
    assert again.find_or_create("k/torso", "torso", parent=parent) == stage
    again.log_params(parent, {"seed": 0, "name": "cascade"})
    again.log_tags(parent, {"python.version": "3.1"})
    again.log_epochs(stage, [_epoch(0, 99.0), _epoch(1, 1.0)])
    again.finish(stage)

    client = again.client
    run = client.get_run(stage)
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.info.status == "FINISHED"
    assert _history(tmp_path, stage) == [(9, 2.0), (19, 1.0)]
    assert client.get_run(parent).data.params == {"seed": "0", "name": "cascade"}
    assert client.get_run(parent).data.tags["python.version"] == "3.1"


def test_what_failed_between_two_batches_is_logged_whole_and_once(tmp_path, monkeypatch):
    monkeypatch.setattr("mas_ray.tracking.mlflow_runs._LARGEST_BATCH", 3)  # ends in the middle of the second epoch
    runs = _runs(tmp_path)
    stage = runs.find_or_create("k", "torso")
    epochs = [_epoch(number, float(number)) for number in range(4)]
    log_batch, calls = runs.client.log_batch, []

    def fail_the_second(*arguments, **named):
        calls.append(named)
        if len(calls) == 2:
            raise OSError("connection reset")
        log_batch(*arguments, **named)

    monkeypatch.setattr(runs.client, "log_batch", fail_the_second)
    with pytest.raises(OSError, match="connection reset"):
        runs.log_epochs(stage, epochs)
    for log in (runs, _runs(tmp_path)):  # this process and another one go on
        log.log_epochs(stage, epochs)
        for key, factor in (("loss/total", 1.0), ("validation/reconstruction", 0.5)):
            assert _history(tmp_path, stage, key) == [(10 * n + 9, factor * n) for n in range(4)]


def test_a_store_that_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ValueError, match=r"^tracking_uri: the MLflow store cannot be opened: ") as caught:
        open_store(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", storage=tmp_path)
    assert "\n" not in str(caught.value)


def test_an_ingest_is_not_stopped_by_a_store_that_dies(tmp_path, monkeypatch, caplog):
    tracker = open_tracker(None, storage=tmp_path, run_name="ingest", run_key="k")

    def fail(*_, **__):
        raise OSError("connection refused")

    for call in ("log_batch", "log_artifacts", "set_terminated"):
        monkeypatch.setattr(tracker._runs.client, call, fail)
    with caplog.at_level(logging.WARNING):
        tracker.log_figures(tracker.parent, {"takes": 1}, step=1)
        tracker.log_file(tracker.parent, tmp_path)
        tracker.finish(tracker.parent)
    said = [record.message for record in caplog.records if record.name.startswith("mas_ray")]
    assert said[0] == "MLflow did not take the figures: connection refused"
    assert len(said) == 3


def test_a_quote_in_the_path_is_fine_and_a_question_mark_is_refused(tmp_path, empty_store):
    for name in ("o'brien", "what?"):
        (tmp_path / name).mkdir()
    shutil.copy(empty_store, tmp_path / "o'brien" / "mlflow.db")
    assert open_tracker(None, storage=tmp_path / "o'brien", run_name="c", run_key="k").parent
    with pytest.raises(ValueError, match=r"storage: .*what"):
        open_store(None, storage=tmp_path / "what?")


def test_errors_of_requests_are_store_errors():
    import requests

    assert issubclass(requests.exceptions.ReadTimeout, STORE_ERRORS)
