"""The ablations on a tiny dataset: every recipe runs, stages are shared, and what is finished is not repeated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from single_views import write_single_views

from mas_ray.annotations import read_reference, write_reference
from mas_ray.config.ablations import brief
from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.config.jobs import TablesJob
from mas_ray.config.published import MIXED_VIEW_FINETUNE, MULTI_VIEW_FINETUNE
from mas_ray.pipelines import ablation_training
from mas_ray.pipelines import tables as pipeline
from mas_ray.reporting.ablations import ABLATIONS
from mas_ray.reporting.beside_published import marked
from mas_ray.reporting.results import RESULTS
from mas_ray.shards.manifest import read_manifest, write_manifest
from mas_ray.skeleton import H36M_18
from mas_ray.training.cascade import run_cascade, run_cascade_stage
from mas_ray.training.data import open_split


def _recipe() -> CascadeConfig:
    """The CPU cascade with a few steps; a fifth of them is one epoch per stage."""
    stages = tuple(replace(stage, learning_rates=((5, 2e-3),)) for stage in cpu_cascade().stages)
    return replace(cpu_cascade(), stages=stages, steps_per_epoch=1, batch_size=2)


def _first_stage(cascade: CascadeConfig) -> CascadeConfig:
    return replace(cascade, stages=cascade.stages[:1])


@pytest.fixture
def job(two_training_subjects, tmp_path, monkeypatch) -> TablesJob:
    monkeypatch.setattr(pipeline, "cpu_cascade", _recipe)
    return TablesJob(
        manifest=str(two_training_subjects.manifest),
        annotations=str(two_training_subjects.annotations),
        output=str(tmp_path / "tables"),
        steps_share=0.2,
    )


@pytest.fixture
def trained(monkeypatch) -> list[int]:
    """The index of every stage that is trained."""
    stages: list[int] = []

    def spy(cascade, index, *args, **kwargs):
        stages.append(index)
        return run_cascade_stage(cascade, index, *args, **kwargs)

    monkeypatch.setattr(ablation_training, "run_cascade_stage", spy)
    return stages


def _only(monkeypatch, *names: str) -> None:
    """Some of the rows, and their names in place of the tables."""
    rows = (*ABLATIONS, *(result.recipe for result in RESULTS))
    monkeypatch.setattr(pipeline, "_rows", lambda job: [row for row in rows if row.name in names])
    monkeypatch.setattr(pipeline, "tables_as_markdown", lambda measured, intro: " ".join(measured))


def _records(job: TablesJob) -> dict[str, str]:
    return {path.name.rpartition("-")[0]: path.read_text() for path in (Path(job.output) / "rows").iterdir()}


def _with_other_joints(job: TablesJob, folder: Path) -> TablesJob:
    """The same job with reference joints that are somewhere else."""
    for path in Path(job.annotations).iterdir():
        found = read_reference(path)
        write_reference(folder / path.name, replace(found, joints_world_mm=2.0 * found.joints_world_mm[::-1] + 500.0))
    return replace(job, annotations=str(folder))


def test_equal_beginnings_are_shared_and_finished_rows_reused(job, trained, monkeypatch):
    _only(monkeypatch, "whole", "without_depth")
    text = pipeline.tables(job)
    assert text == "whole without_depth"
    assert trained == [0, 1, 2, 2]
    records = _records(job)
    assert (Path(job.output) / "tables.md").read_text() == text
    rows = json.loads((Path(job.output) / "tables.json").read_text())["rows"]
    assert [row["name"] for row in rows] == text.split()
    assert rows[0]["evaluation"]["source"]["num_frame_sets"] == 8
    assert rows[0]["evaluation"]["accuracy"] != rows[1]["evaluation"]["accuracy"]

    trained.clear()
    pipeline.tables(job)
    (lost,) = (Path(job.output) / "rows").glob("whole-*")
    lost.unlink()
    pipeline.tables(job)
    assert not trained
    assert _records(job) == records


def test_the_row_with_labels_is_trained_without_them(job, trained, monkeypatch):
    points = "with_points+without_arm_search"
    _only(monkeypatch, points, f"{points}+spp")
    monkeypatch.setattr(pipeline, "cpu_cascade", lambda: _first_stage(_recipe()))
    pipeline.tables(job)
    assert trained == [0]
    plain, with_labels = (json.loads(_records(job)[name]) for name in (points, f"{points}+spp"))
    assert plain["supervised"] == []
    assert plain["evaluation"]["accuracy"] == with_labels["evaluation"]["accuracy"]
    linear, network = with_labels["supervised"]
    assert (linear["regressor"], network["regressor"]) == ("linear", "two_hidden_layers")
    assert linear["num_training_poses"] == network["num_training_poses"] == 16
    keypoints = plain["evaluation"]["accuracy"][0]["keypoints"]
    assert linear["percent_of_crop"] < keypoints["percent_of_crop"]


def test_weights_are_the_same_bit_by_bit_whatever_the_annotations_say(job, tmp_path, monkeypatch):
    points = "with_points+without_arm_search"
    _only(monkeypatch, "whole", f"{points}+spp")
    pipeline.tables(job)
    other = replace(_with_other_joints(job, tmp_path / "other"), output=str(tmp_path / "other_tables"))
    pipeline.tables(other)
    ours, theirs = (sorted((Path(each.output) / "stages").iterdir()) for each in (job, other))
    assert [path.name for path in ours] == [path.name for path in theirs]
    assert len(ours) == 6
    for path, again in zip(ours, theirs, strict=True):
        assert path.read_bytes() == again.read_bytes()
    assert all(_records(job)[name] != record for name, record in _records(other).items())


def test_other_annotations_are_measured_anew_and_nothing_is_trained_anew(job, trained, tmp_path, monkeypatch):
    _only(monkeypatch, "whole")
    monkeypatch.setattr(pipeline, "cpu_cascade", lambda: _first_stage(_recipe()))
    pipeline.tables(job)
    pipeline.tables(_with_other_joints(job, tmp_path / "other"))
    assert trained == [0]
    rows = [path.read_text() for path in (Path(job.output) / "rows").iterdir()]
    assert len(set(rows)) == 2


def test_an_interrupted_row_goes_on_after_its_last_stage(job, trained, monkeypatch):
    _only(monkeypatch, "whole")
    pipeline.tables(job)
    records = _records(job)
    for path in [*Path(job.output).glob("rows/*"), *Path(job.output).glob("stages/limbs-*")]:
        path.unlink()
    trained.clear()
    pipeline.tables(job)
    assert trained == [2]
    assert _records(job) == records


def test_stage_by_stage_is_the_whole_cascade(job, monkeypatch):
    _only(monkeypatch, "whole")
    pipeline.tables(job)
    (path,) = Path(job.output).glob("stages/limbs-*.pt")
    saved = torch.load(path, weights_only=True)["detector"]
    cascade = brief(_recipe(), job.steps_share)
    manifest = Path(job.manifest)
    train = open_split(manifest.parent, read_manifest(manifest), "train", cascade)
    *_, last = run_cascade(cascade, train, skeleton=H36M_18)
    for name, tensor in last.state.detector.state_dict().items():
        torch.testing.assert_close(saved[name], tensor)


def test_another_seed_is_another_recipe(job, trained, monkeypatch):
    _only(monkeypatch, "whole")
    monkeypatch.setattr(pipeline, "cpu_cascade", lambda: _first_stage(_recipe()))
    pipeline.tables(job)
    pipeline.tables(replace(job, seed=1))
    assert trained == [0, 0]
    assert len(list((Path(job.output) / "rows").iterdir())) == 2


def test_what_is_missing_is_said_before_anything_is_trained(job, trained):
    with pytest.raises(ValueError, match="nowhere: no such folder of reference joints"):
        pipeline.tables(replace(job, annotations="nowhere"))
    manifest = Path(job.manifest).with_name("untested.json")
    found = read_manifest(Path(job.manifest))
    write_manifest(manifest, replace(found, splits=replace(found.splits, test=())))
    with pytest.raises(ValueError, match="the test split has no frame sets"):
        pipeline.tables(replace(job, manifest=str(manifest)))
    assert not trained
    assert not Path(job.output).exists()


@pytest.mark.slow
def test_every_recipe_can_be_trained_and_stands_in_the_tables(job, tmp_path):
    alone = write_single_views(tmp_path / "alone", Path(job.manifest))
    text = pipeline.tables(replace(job, components=True, single_view_manifest=str(alone)))
    for row in (*ABLATIONS, MULTI_VIEW_FINETUNE, MIXED_VIEW_FINETUNE):
        assert f"\n| {marked(row)} |" in text
    assert set(_records(job)) == {row.name for row in ABLATIONS} | {row.recipe.name for row in RESULTS}
    (mixed,) = (line for line in text.splitlines() if line.startswith("| Mixed-view ft |"))
    assert not mixed.startswith("| Mixed-view ft | - |")
