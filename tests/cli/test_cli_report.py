"""mas-ray report: one command for the pages of everything."""

from __future__ import annotations

import pytest

from mas_ray.cli import report
from mas_ray.cli.main import main
from mas_ray.config import codec
from mas_ray.config.jobs import ReportJob, TrainJob
from mas_ray.pipelines import report as pipeline


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "runs" / "cascade"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (folder / "job.json").write_text(codec.dumps(TrainJob(manifest="d/manifest.json", storage="runs")))
    return folder


def test_a_run_knows_its_dataset_and_where_its_report_goes(run, monkeypatch, capsys):
    expected = ReportJob(run=str(run), manifest="d/manifest.json", output=str(run / "report.html"))
    assert report.job_of([str(run)]) == report.job_of(["--run", str(run)]) == expected
    argv = [str(run), "--manifest", "m.json", "--output", "r.html", "--evaluation", "e", "--predictions", "p"]
    job = ReportJob(run=str(run), manifest="m.json", output="r.html", evaluation="e", predictions="p")
    assert report.job_of(argv) == job
    monkeypatch.setattr(pipeline, "report", lambda job: job.output)
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"wrote {run / 'report.html'}\n"


@pytest.mark.parametrize("page", ["sweep.html", "evaluation.html"])
def test_what_has_a_page_is_copied_if_asked(tmp_path, page, capsys):
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / page).write_text("<p>page</p>")
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out == f"it is there already: {folder / page}\n"
    assert main(["report", str(folder), "--output", str(tmp_path / "copy.html")]) == 0
    assert (tmp_path / "copy.html").read_text() == "<p>page</p>"


def test_a_dataset_is_a_contact_sheet(tiny_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(tiny_dataset.manifest.parent)]) == 0
    assert capsys.readouterr().out == "wrote report.html\n"
    assert "data:image/jpeg" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "name the folder of a run"),
        (["a", "--run", "b"], "name the folder of a run"),
        (["--run", "nothing"], "job.json: no such file; expected the folder of a run"),
        (["nothing"], "nothing: no run (run.json), dataset (manifest.json), sweep (sweep.html) or evaluation"),
        (["nothing", "--evaluation", "e"], "--manifest, --evaluation, --predictions: belong to the report of a run"),
    ],
)
def test_what_makes_no_sense_is_said(argv, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", *argv]) == 1
    assert message in capsys.readouterr().err
