"""Sweeps of ablations on a tiny dataset, whose trials end with networks that were never trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fresh_checkpoint import save_fresh
from made_up_sweep import sweep_job

from mas_ray.config import codec
from mas_ray.config.ablations import Ablation, ablated
from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.config.jobs import EvaluateJob, SweepTablesJob
from mas_ray.config.search_space import Choice
from mas_ray.config.sweep import GridSearch, RandomSearch, TuneJob, grid, trial_job
from mas_ray.pipelines import session
from mas_ray.pipelines import sweep_tables as pipeline
from mas_ray.pipelines.ablation_training import open_dataset, reconstruction
from mas_ray.pipelines.claim import RunRecord
from mas_ray.pipelines.evaluate import evaluate
from mas_ray.pipelines.run_folder import CascadeResult
from mas_ray.pipelines.sweep_folder import Outcome, begin_trial, end_trial, trial_folder
from mas_ray.pipelines.tune import tune
from mas_ray.shards.manifest import file_sha256
from mas_ray.shards.write import write_text
from mas_ray.skeleton import H36M_18
from mas_ray.training.state import create_state


def _sweep(
    dataset, storage: Path, *without: tuple[Ablation, ...], seeds: tuple[int, ...] = (0, 1), **options
) -> TuneJob:
    space = (Choice(field="cascade.seed", values=seeds), Choice(field="without", values=without))
    options = {"space": space, "search": GridSearch()} | options
    job = sweep_job(storage, manifest=str(dataset.manifest), **options)
    job = replace(job, base=replace(job.base, cascade=cpu_cascade()))
    (storage / "sweep").mkdir()
    write_text(storage / "sweep" / "sweep.json", codec.dumps(job))
    return job


def _recipe(job: TuneJob, drawn) -> CascadeConfig:
    planned = trial_job(job, drawn)
    return ablated(planned.cascade, planned.without)


def _end(job: TuneJob, number: int, drawn=None, *, ending="finished", reason=None) -> Path:
    """A trial as it is when its training has ended; the weights are those of its seed."""
    sweep = Path(job.base.storage) / job.base.name
    drawn = drawn or grid(job)[number]
    begin_trial(sweep, number, drawn)
    run = trial_folder(sweep, number)
    recipe = _recipe(job, drawn)
    trained = replace(job.base, cascade=recipe, storage=str(run.parent), name=run.name)
    write_text(run / "job.json", codec.dumps(trained))
    write_text(
        run / "run.json", codec.dumps(RunRecord(manifest_sha256=file_sha256(Path(job.base.manifest)), cascade=recipe))
    )
    if ending == "finished":
        save_fresh(run / "checkpoint", seed=recipe.seed, recipe=recipe)
        write_text(run / "cascade.json", codec.dumps(CascadeResult(checkpoint="checkpoint", stages=())))
    end_trial(sweep, number, Outcome(ending=ending, reason=reason))
    return run


def _tables_job(dataset, storage: Path) -> SweepTablesJob:
    return SweepTablesJob(
        sweep=str(storage / "sweep"), annotations=str(dataset.annotations), output=str(storage / "tables")
    )


def _record(job: SweepTablesJob) -> dict:
    return json.loads((Path(job.output) / "tables.json").read_text())


def test_finished_trials_are_measured_and_the_others_named(tiny_dataset, tmp_path, monkeypatch):
    sweep = _sweep(tiny_dataset, tmp_path, ("geodesic",), (), seeds=(0, 1, 2))
    for number in (0, 1, 3):
        _end(sweep, number)
    _end(sweep, 2, ending="failed", reason="stage 'limbs': no memory")
    begin_trial(tmp_path / "sweep", 4, grid(sweep)[4])
    job = _tables_job(tiny_dataset, tmp_path)
    text = pipeline.sweep_tables(job)
    assert text.endswith(
        "\n\n- trial 0002, without geodesic, seed 1: it failed: stage 'limbs': no memory\n"
        "- trial 0004, without geodesic, seed 2: it has not ended\n"
        "- trial 0005, without nothing, seed 2: it has not begun\n"
    )
    assert (Path(job.output) / "tables.md").read_text() == text
    record = _record(job)
    assert [(row["trial"], row["seed"], row["row"]["name"]) for row in record["rows"]] == [
        (0, 0, "without_geodesic"),
        (1, 0, "whole"),
        (3, 1, "whole"),
    ]
    assert len(record["left_out"]) == 3
    first, second = (
        row["row"]["evaluation"]["accuracy"][2]["triangulated"]["mpjpe_mm"]
        for row in record["rows"]
        if row["row"]["name"] == "whole"
    )
    shown = f"{(first + second) / 2:.1f} ± {abs(first - second) / 2**0.5:.1f}"
    assert f"| Full | {shown} | 95.9 |" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| wo G |")]
    assert line.endswith("| 1 seed |")
    assert "±" not in line

    monkeypatch.setattr(pipeline, "measure_row", lambda *_, **__: pytest.fail("measured again"))
    assert pipeline.sweep_tables(job) == text


def test_what_is_measured_is_the_checkpoint_on_the_test_split(tiny_dataset, tmp_path):
    sweep = _sweep(tiny_dataset, tmp_path, ("geodesic",), ())
    run = _end(sweep, 2)
    job = _tables_job(tiny_dataset, tmp_path)
    pipeline.sweep_tables(job)
    (found,) = _record(job)["rows"]
    evaluation = evaluate(
        EvaluateJob(
            checkpoint=str(run / "checkpoint"),
            manifest=str(tiny_dataset.manifest),
            annotations=str(tiny_dataset.annotations),
            output=str(tmp_path / "evaluation"),
        )
    )
    assert found["row"]["evaluation"] == codec.to_json(evaluation)
    recipe = _recipe(sweep, {"cascade.seed": 1, "without": ("geodesic",)})
    networks = create_state(recipe, H36M_18, torch.device("cpu")).kept
    test = open_dataset(tiny_dataset.manifest).open("test", recipe)
    assert found["row"]["reconstruction"] == pytest.approx(reconstruction(networks, recipe, test))


def test_the_row_with_labels_is_of_the_trial_without_them(two_training_subjects, tmp_path):
    sweep = _sweep(two_training_subjects, tmp_path, ("bones", "arm_search"), seeds=(0,))
    _end(sweep, 0)
    job = _tables_job(two_training_subjects, tmp_path)
    pipeline.sweep_tables(job)
    plain, with_labels = _record(job)["rows"]
    assert (plain["trial"], with_labels["trial"]) == (0, 0)
    assert plain["row"]["supervised"] == []
    assert with_labels["row"]["name"] == "with_points+without_arm_search+spp"
    assert with_labels["row"]["supervised"][0]["num_training_poses"] == 16


def test_a_trial_is_left_out_if_it_is_not_what_its_values_stand_for(tiny_dataset, tmp_path):
    sweep = _sweep(tiny_dataset, tmp_path, (), ("geodesic",), ("depth",), search=RandomSearch(num_trials=9))
    whole = {"cascade.seed": 0, "without": ()}
    _end(sweep, 0, whole)
    _end(sweep, 1, whole)
    _end(sweep, 2, {"cascade.seed": 0, "without": ("depth",)})
    stale = _end(sweep, 3, {"cascade.seed": 0, "without": ("geodesic",)})
    trained = replace(sweep.base, cascade=replace(cpu_cascade(), batch_size=2))
    write_text(stale / "job.json", codec.dumps(trained))
    (_end(sweep, 4, whole | {"cascade.seed": 1}) / "checkpoint" / "FORMAT").unlink()
    _end(sweep, 5, whole | {"cascade.seed": 1}, ending="stopped")
    job = _tables_job(tiny_dataset, tmp_path)
    pipeline.sweep_tables(job)
    record = _record(job)
    assert [row["trial"] for row in record["rows"]] == [0]
    assert record["left_out"] == [
        "trial 0001, without nothing, seed 0: the same as trial 0000",
        "trial 0002, without depth, seed 0: the tables have no such row",
        "trial 0003, without geodesic, seed 0: it trained another recipe than these names stand for now",
        "trial 0004, without nothing, seed 1: its checkpoint is gone",
        "trial 0005, without nothing, seed 1: it stopped",
    ]


def test_other_weights_or_annotations_are_measured_anew(tiny_dataset, tmp_path):
    sweep = _sweep(tiny_dataset, tmp_path, (), seeds=(0,))
    run = _end(sweep, 0)
    job = _tables_job(tiny_dataset, tmp_path)
    text = pipeline.sweep_tables(job)
    other = tmp_path / "annotations"
    other.mkdir()
    for path in Path(tiny_dataset.annotations).iterdir():
        (other / path.name).symlink_to(path)
    (other / "more.parquet").write_bytes(b"")
    assert pipeline.sweep_tables(replace(job, annotations=str(other))) == text
    weights = torch.load(run / "checkpoint" / "model.pt", weights_only=True)
    for tensor in weights["detector"].values():
        tensor.mul_(1.5)
    torch.save(weights, run / "checkpoint" / "model.pt")
    (run / "checkpoint" / "sha256.json").unlink()  # of what it was
    assert pipeline.sweep_tables(job) != text
    assert len(list((Path(job.output) / "rows").iterdir())) == 3


def test_what_is_no_sweep_of_ablations_is_said(tiny_dataset, two_training_subjects, tmp_path):
    job = _tables_job(tiny_dataset, tmp_path)
    with pytest.raises(ValueError, match=r"sweep\.json: no such file; this is no folder of a sweep"):
        pipeline.sweep_tables(job)
    sweep = _sweep(tiny_dataset, tmp_path, (), ("geodesic",), seeds=(0,))
    with pytest.raises(ValueError, match=r"sweep: no finished trial of a row of the tables; trial 0000, without noth"):
        pipeline.sweep_tables(job)
    _end(sweep, 0)
    with pytest.raises(ValueError, match="nowhere: no such folder of reference joints"):
        pipeline.sweep_tables(replace(job, annotations="nowhere"))
    with pytest.raises(ValueError, match=r"0000/run\.json: this trial was trained on another dataset than .*dataset/"):
        pipeline.sweep_tables(replace(job, manifest=str(two_training_subjects.manifest)))
    assert not Path(job.output).exists()
    rates = replace(sweep, space=(*sweep.space, Choice(field="cascade.batch_size", values=(4, 8))))
    write_text(tmp_path / "sweep" / "sweep.json", codec.dumps(rates))
    with pytest.raises(ValueError, match=r"sweep\.json: cascade\.batch_size varies; expected without and cascade\.se"):
        pipeline.sweep_tables(job)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_what_tune_leaves_can_be_measured(tiny_dataset, tmp_path):
    """One recipe has two stages, the second taught by the first; the other has one."""
    job = _sweep(tiny_dataset, tmp_path, (), ("cascade",), seeds=(3,))
    short = tuple(replace(stage, learning_rates=((1, 1e-3),)) for stage in cpu_cascade().stages)
    cascade = replace(cpu_cascade(), stages=short, steps_per_epoch=2, batch_size=2)
    job = replace(job, base=replace(job.base, cascade=cascade), stages=("torso", "limbs"))
    (tmp_path / "sweep" / "sweep.json").unlink()
    with session.connect(num_cpus=2):
        tune(job)
    text = pipeline.sweep_tables(_tables_job(tiny_dataset, tmp_path))
    assert text.endswith("## Trials left out\n\nNone.\n")
    assert "random weights: 2 epochs (torso 1, limbs 1), each of 2 steps." in text
    found = {row["row"]["name"]: row["seed"] for row in _record(_tables_job(tiny_dataset, tmp_path))["rows"]}
    assert found == {"whole": 3, "without_cascade": 3}
