import json

from mas_ray.tracking.report_spool import ReportSpool
from mas_ray.tracking.spool import read_lines, read_spool


def _report(epoch, loss):
    return {"epoch": epoch, "step": epoch * 10 + 9, "stage": "torso", "loss/total": loss}


def test_workers_are_averaged_and_a_repeated_epoch_counts_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    spool = ReportSpool(str(path))
    spool.after_report(None, [_report(0, 1.0), _report(0, 3.0)], None)
    spool.after_report(None, [_report(1, 5.0)], None)
    spool.after_report(None, [_report(1, 4.0)], None)
    assert [(line["epoch"], line["loss/total"]) for line in read_spool(path)] == [(0, 2.0), (1, 4.0)]
    assert [line["loss/total"] for line in read_lines(path)] == [2.0, 5.0, 4.0]


def test_a_figure_that_only_some_workers_have_is_theirs(tmp_path):
    spool = ReportSpool(str(tmp_path / "metrics.jsonl"))
    spool.after_report(None, [_report(0, 1.0), _report(0, 3.0) | {"system/gpu_percent": 60.0}], None)
    (line,) = read_spool(tmp_path / "metrics.jsonl")
    assert (line["loss/total"], line["system/gpu_percent"]) == (2.0, 60.0)


def test_a_line_in_the_making_is_left_alone(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(_report(0, 1.0)) + "\n" + '{"epoch": 1, "lo')
    assert [line["epoch"] for line in read_spool(path)] == [0]
    assert read_spool(tmp_path / "absent.jsonl") == []


def test_a_torn_line_costs_its_epoch_only(tmp_path):
    path = tmp_path / "metrics.jsonl"
    spool = ReportSpool(str(path))
    spool.after_report(None, [_report(0, 1.0)], None)
    with path.open("a") as file:
        file.write('{"epoch": 1, "lo')
    spool.after_report(None, [_report(2, 3.0)], None)
    assert [line["epoch"] for line in read_spool(path)] == [0, 2]
