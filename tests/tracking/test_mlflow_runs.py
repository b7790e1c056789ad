import logging

import pytest
from mlflow import MlflowClient

from mas_ray.tracking.mlflow_runs import open_tracker


def _epoch(number, loss):
    return {"epoch": number, "step": number * 10 + 9, "time_ms": 1000 + number, "stage": "torso", "loss/total": loss}


def test_runs_nest_and_are_found_again(tmp_path):
    tracker = open_tracker(None, storage=tmp_path, run_name="cascade", run_key="k")
    stage = tracker.stage("torso")
    tracker.log_params(tracker.parent, {"seed": 0})
    tracker.log_epochs(stage, [_epoch(0, 2.0)])

    again = open_tracker(None, storage=tmp_path, run_name="cascade", run_key="k")
    assert again.parent == tracker.parent
    assert again.stage("torso") == stage
    again.log_params(again.parent, {"seed": 0, "name": "cascade"})
    again.log_epochs(stage, [_epoch(0, 99.0), _epoch(1, 1.0)])
    again.finish(stage)

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    run = client.get_run(stage)
    assert run.data.tags["mlflow.parentRunId"] == tracker.parent
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(stage, "loss/total")
    assert sorted((metric.step, metric.value) for metric in history) == [(9, 2.0), (19, 1.0)]
    assert client.get_run(tracker.parent).data.params == {"seed": "0", "name": "cascade"}


def test_a_store_that_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ValueError, match=r"^tracking_uri: the MLflow store cannot be opened: ") as caught:
        open_tracker(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", storage=tmp_path, run_name="c", run_key="k")
    assert "\n" not in str(caught.value)


def test_a_store_that_dies_later_gets_the_metrics_when_it_is_back(tmp_path, monkeypatch, caplog):
    tracker = open_tracker(None, storage=tmp_path, run_name="cascade", run_key="k")
    stage = tracker.stage("torso")
    with monkeypatch.context() as broken:

        def fail(*_, **__):
            raise OSError("connection refused")

        for call in ("log_batch", "log_artifacts", "search_runs", "set_terminated"):
            broken.setattr(tracker._client, call, fail)
        with caplog.at_level(logging.WARNING):
            tracker.log_epochs(stage, [_epoch(0, 2.0)])
            tracker.log_params(stage, {"seed": 0})
            tracker.log_file(stage, tmp_path)
            tracker.finish(stage)
            assert tracker.stage("limbs") is None
        said = [record.message for record in caplog.records if record.name.startswith("mas_ray")]
        assert said[0] == "MLflow did not take the metrics: connection refused"
        assert len(said) == 5
    tracker.log_epochs(stage, [_epoch(0, 2.0), _epoch(1, 1.0)])
    history = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}").get_metric_history(stage, "loss/total")
    assert sorted(metric.step for metric in history) == [9, 19]


def test_a_quote_in_the_path_is_fine_and_a_question_mark_is_refused(tmp_path):
    for name in ("o'brien", "what?"):
        (tmp_path / name).mkdir()
    assert open_tracker(None, storage=tmp_path / "o'brien", run_name="c", run_key="k").parent
    with pytest.raises(ValueError, match=r"storage: .*what"):
        open_tracker(None, storage=tmp_path / "what?", run_name="c", run_key="k")
