from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mas_ray.cli.tables import run
from mas_ray.config.jobs import CollectedTablesJob, RowEvaluation, SweepTablesJob, TablesJob
from mas_ray.pipelines import collected_tables as collected_pipeline
from mas_ray.pipelines import learn as learn_pipeline
from mas_ray.pipelines import sweep_tables as sweep_pipeline
from mas_ray.pipelines import tables as pipeline


@pytest.fixture
def jobs(monkeypatch) -> list[TablesJob]:
    seen: list[TablesJob] = []

    def tables(job: TablesJob) -> str:
        seen.append(job)
        return "# Ablations"

    monkeypatch.setattr(pipeline, "tables", tables)
    return seen


def test_flags_make_a_job(jobs, capsys):
    argv = ["--manifest", "m.json", "--annotations", "a", "--output", "out", "--steps-share", "0.1", "--seed", "3"]
    assert run(argv) == 0
    assert jobs == [TablesJob(manifest="m.json", annotations="a", output="out", steps_share=0.1, seed=3)]
    out = capsys.readouterr().out
    assert out.startswith("# Ablations\n")
    assert f"wrote {Path('out/tables.md')}" in out


def test_a_sweep_is_measured_in_its_own_folder_if_no_other_is_named(jobs, monkeypatch, capsys):
    seen: list[SweepTablesJob] = []
    monkeypatch.setattr(sweep_pipeline, "sweep_tables", lambda job: seen.append(job) or "# Ablations over seeds")
    assert run(["--sweep", "s", "--annotations", "a"]) == 0
    assert run(["--sweep", "s", "--annotations", "a", "--manifest", "m.json", "--output", "out"]) == 0
    assert seen == [
        SweepTablesJob(sweep="s", annotations="a", output=str(Path("s/tables"))),
        SweepTablesJob(sweep="s", annotations="a", output="out", manifest="m.json"),
    ]
    assert f"wrote {Path('s/tables/tables.json')}" in capsys.readouterr().out
    assert not jobs


def test_without_a_dataset_it_is_the_one_of_learn(jobs, monkeypatch):
    dataset = learn_pipeline.LearningDataset(manifest=Path("x/m.json"), annotations=Path("x/a"))
    monkeypatch.setattr(learn_pipeline, "learning_dataset", lambda job: dataset)
    monkeypatch.setattr(learn_pipeline, "single_view_dataset", lambda job: Path("x/alone.json"))
    assert run([]) == 0
    assert run(["--corpus", "synthetic", "--components"]) == 0
    made = TablesJob(manifest="x/m.json", annotations="x/a", single_view_manifest="x/alone.json")
    assert jobs == [made, replace(made, components=True)]


@pytest.mark.usefixtures("jobs")
def test_wrong_flags_are_one_line_before_anything_is_made(monkeypatch):
    monkeypatch.setattr(learn_pipeline, "learning_dataset", lambda job: pytest.fail("made"))
    with pytest.raises(ValueError, match=r"^--manifest, --annotations: name both"):
        run(["--manifest", "m.json"])
    with pytest.raises(ValueError, match=r"^--annotations: name the folder of reference joints"):
        run(["--sweep", "s"])
    with pytest.raises(ValueError, match=r"^--steps-share, --seed, --components: a sweep has been trained"):
        run(["--sweep", "s", "--annotations", "a", "--seed", "1"])
    with pytest.raises(ValueError, match=r"^steps_share: expected more than 0 and at most 1, got 2"):
        run(["--steps-share", "2"])


def test_evaluations_are_collected(jobs, monkeypatch, capsys):
    seen: list[CollectedTablesJob] = []
    monkeypatch.setattr(collected_pipeline, "collected_tables", lambda job: seen.append(job) or "# Tables")
    assert run(["--evaluations", "whole=e/h36m", "without_depth=e/d", "--output", "out"]) == 0
    rows = (RowEvaluation(row="whole", evaluation="e/h36m"), RowEvaluation(row="without_depth", evaluation="e/d"))
    assert seen == [CollectedTablesJob(evaluations=rows, output="out")]
    assert not jobs
    with pytest.raises(ValueError, match=r"^--evaluations: expected ROW=FOLDER, got 'whole'"):
        run(["--evaluations", "whole"])
    with pytest.raises(ValueError, match=r"^--evaluations: takes no other flag"):
        run(["--evaluations", "whole=e", "--seed", "3"])
