from dataclasses import replace

import pytest

from mas_ray.cli.main import main
from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade, mixed_view_finetune
from mas_ray.config.jobs import TrainJob
from mas_ray.pipelines.train import CascadeResult, StageResult


@pytest.fixture
def trained(monkeypatch):
    """The jobs that training was asked to run."""
    jobs: list[TrainJob] = []

    def train(job):
        jobs.append(job)
        stage = StageResult(stage="mixed_view", checkpoint="c", validation_reconstruction=0.5)
        return CascadeResult(checkpoint="c", stages=(stage,))

    monkeypatch.setattr("mas_ray.pipelines.train.train", train)
    return jobs


def test_the_mixed_recipe_is_made_of_the_checkpoints_own(tmp_path, trained, capsys):
    cascade = replace(cpu_cascade(), seed=7)
    (tmp_path / "job.json").write_text(codec.dumps(TrainJob(manifest="m", storage="s", cascade=cascade)))
    flags = ["--recipe", "mixed", "--initial", str(tmp_path), "--single-view-manifest", "tiktok/manifest.json"]
    assert main(["train", "--manifest", "m.json", *flags]) == 0
    (job,) = trained
    assert job.cascade == mixed_view_finetune(cascade)
    assert (job.initial, job.single_view_manifest) == (str(tmp_path), "tiktok/manifest.json")
    assert "mixed_view" in capsys.readouterr().out


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
