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
