import json
import time

import mas_ray.pipelines.train as module
from mas_ray.config.jobs import Workers
from mas_ray.pipelines.train import _following


def _report(spool, epoch):
    line = {"epoch": epoch, "step": 40 * epoch + 39, "loss/total": 0.5, "images_per_s": 80.0}
    with spool.open("a") as file:
        file.write(json.dumps(line | {"validation/reconstruction": 0.25}) + "\n")


def test_a_stage_that_goes_on_counts_only_what_it_does_now(tmp_path, capsys):
    """Epochs of an earlier session would make the rate, and the time left, look too good."""
    spool = tmp_path / "metrics.jsonl"
    for epoch in range(5):
        _report(spool, epoch)
    drawn: list[int] = []
    with _following(spool, "stage 1/3 torso", 12, drawn.append, Workers()):
        _report(spool, 5)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stage 1/3 torso, after epoch 5: 1 of 7 epochs, ")
    assert line.endswith("epoch 6/12, step 240/480, loss 0.5, held-out 0.25, images/s 80")
    assert drawn == [6]


def test_what_comes_last_is_shown_and_nothing_is_waited_for(tmp_path, capsys):
    spool = tmp_path / "metrics.jsonl"
    drawn: list[int] = []
    started = time.monotonic()
    with _following(spool, "stage 1/3 torso", 2, drawn.append, Workers()):
        for epoch in range(2):
            _report(spool, epoch)
    assert time.monotonic() - started < 1.0
    assert "2 of 2 epochs" in capsys.readouterr().err
    assert drawn == [2]


def test_a_cluster_that_lost_a_node_is_told_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "_POLL_S", 0.01)
    monkeypatch.setattr(module, "_LOOK_S", 0.01)
    lacking = iter([None, *["training asks for 2 CPUs, Ray has 1"] * 3, None])
    monkeypatch.setattr(module.session, "shortage", lambda workers, what: next(lacking, None))
    with _following(tmp_path / "metrics.jsonl", "stage", 2, lambda epoch: None, Workers(num=2)):
        time.sleep(0.5)
    told = capsys.readouterr().err
    assert told.count("waiting for the cluster: training asks for 2 CPUs, Ray has 1") == 1
    assert told.count("the cluster is whole") == 1
