import shutil
from dataclasses import replace

import pytest
from fresh_checkpoint import save_fresh

from mas_ray.cli.main import main
from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade, mixed_view_finetune
from mas_ray.config.jobs import Execution, TrainJob
from mas_ray.pipelines.show_run import RunSummary, StageRow
from mas_ray.tracking.mlflow_runs import Runs, open_store
from mas_ray.tracking.registry import register

STAGE = StageRow(
    stage="mixed_view",
    state="finished",
    num_epochs=5,
    of_epochs=5,
    loss=0.25,
    reconstruction=0.5,
    best_reconstruction=0.4,
    images_per_s=123.4,
    data_wait_share=0.031,
    repeated_epochs=2,
    checkpoint="stages/0-mixed_view/mixed_view-epoch0004",
)


@pytest.fixture
def trained(monkeypatch):
    """The jobs that training was asked to run."""
    jobs: list[TrainJob] = []

    def train(job):
        jobs.append(job)

    def summarise(run):
        return RunSummary(
            run=str(run),
            training_now=False,
            stages=(STAGE,),
            checkpoint="c",
            model="models:/mas-ray/3",
            tracking_uri="sqlite:///mlflow.db",
            tracked=True,
            next=("mas-ray predict ...", "mas-ray report ..."),
        )

    monkeypatch.setattr("mas_ray.pipelines.train.train", train)
    monkeypatch.setattr("mas_ray.pipelines.show_run.summarise_run", summarise)
    return jobs


def test_the_mixed_recipe_is_made_of_the_checkpoints_own(tmp_path, trained, capsys):
    cascade = replace(cpu_cascade(), seed=7)
    (tmp_path / "job.json").write_text(codec.dumps(TrainJob(manifest="m", storage="s", cascade=cascade)))
    flags = ["--recipe", "mixed", "--initial", str(tmp_path), "--single-view-manifest", "tiktok/manifest.json"]
    assert main(["train", "--manifest", "m.json", *flags]) == 0
    (job,) = trained
    assert job.cascade == mixed_view_finetune(cascade)
    assert (job.initial, job.single_view_manifest) == (str(tmp_path), "tiktok/manifest.json")
    out = capsys.readouterr().out
    (row,) = (line.split() for line in out.splitlines() if line.strip().startswith("mixed_view"))
    assert row == ["mixed_view", "finished", "0.25", "0.5", "0.4", "123.4", "3.1", "%", "2"]
    assert "models:/mas-ray/3" in out
    assert out.splitlines()[-2:] == ["next        mas-ray predict ...", "            mas-ray report ..."]


def test_any_recipe_may_start_from_a_checkpoint(trained):
    assert main(["train", "--manifest", "m.json", "--recipe", "cpu", "--initial", "checkpoint"]) == 0
    (job,) = trained
    assert (job.cascade, job.initial, job.single_view_manifest) == (cpu_cascade(), "checkpoint", None)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ([], "--initial: name the checkpoint that the mixed recipe is to fine-tune"),
        (["--initial", "nowhere"], "nowhere/job.json: no checkpoint here"),
    ],
)
def test_the_mixed_recipe_needs_a_checkpoint(flags, text, trained, capsys):
    assert main(["train", "--manifest", "m.json", "--recipe", "mixed", *flags]) == 1
    assert capsys.readouterr().err == f"mas-ray train: {text}\n"
    assert trained == []


def test_the_mixed_recipe_of_a_registered_checkpoint(tmp_path, trained, empty_store):
    """Found in the storage's own store; the job keeps the name, and training fetches the weights."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    runs = Runs(open_store(None, storage=tmp_path), tmp_path)
    register(runs, runs.find_or_create("a", "a"), save_fresh(tmp_path / "checkpoint", seed=7), name="people")
    flags = ["--recipe", "mixed", "--storage", str(tmp_path), "--initial", "models:/people@candidate"]
    assert main(["train", "--manifest", "m.json", *flags]) == 0
    (job,) = trained
    assert job.cascade == mixed_view_finetune(replace(cpu_cascade(), seed=7))
    assert job.initial == "models:/people@candidate"


def test_layers_may_be_computed_in_bfloat16(trained):
    assert main(["train", "--manifest", "m.json", "--precision", "bfloat16"]) == 0
    assert main(["train", "--manifest", "m.json"]) == 0
    assert [job.execution for job in trained] == [Execution(precision="bfloat16"), Execution()]
