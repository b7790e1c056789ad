import json
import subprocess
import sys

import pytest
import yaml

from mas_ray.cli.main import main
from mas_ray.config import codec
from mas_ray.config.jobs import IngestJob, TrainJob
from mas_ray.pipelines.submission import RECORD, Record, submission

FILE = """
from mas_ray.config.jobs import TrainJob
JOB = TrainJob(manifest="s3://d/manifest.json", storage="s3://runs", name="one")
"""


@pytest.fixture
def job_file(tmp_path):
    path = tmp_path / "job.py"
    path.write_text(FILE)
    return str(path)


def rendered(capsys, *argv):
    assert main(["submit", "--render", "kuberay", *argv]) == 0
    document = yaml.safe_load(capsys.readouterr().out)
    return document, codec.loads(Record, yaml.safe_load(document["spec"]["runtimeEnvYAML"])["env_vars"][RECORD]).job


def test_a_file_is_rendered_for_kuberay(capsys, job_file):
    document, job = rendered(capsys, "--name", "mine", "--image", "hub/mas-ray:1", job_file)
    assert document["kind"] == "RayJob"
    assert document["metadata"]["name"] == "mine"
    assert job == TrainJob(manifest="s3://d/manifest.json", storage="s3://runs", name="one")
    assert document["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"] == (
        "hub/mas-ray:1-cpu"
    )


def test_any_verb_is_rendered_by_its_own_flags(capsys):
    document, job = rendered(capsys, "--", "ingest", "--root", "s3://v", "--output", "s3://d", "--workers", "20")
    assert isinstance(job, IngestJob)
    assert (job.root, job.workers.num) == ("s3://v", 20)
    groups = document["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert groups[0]["maxReplicas"] == 3  # 20 workers of one CPU, 8 to a pod


def test_a_record_is_submitted_by_its_verb(capsys, tmp_path):
    job = TrainJob(manifest="s3://d/manifest.json", storage="/data/runs")
    (tmp_path / "job.json").write_text(codec.dumps(job))
    assert rendered(capsys, "--", "train", "--job", str(tmp_path / "job.json"))[1] == job


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "expected a Python file with a JOB, or a verb and its flags after --"),
        (["job.py", "--", "train"], "expected a Python file with a JOB, or a verb and its flags after --"),
        (["missing.py"], "missing.py: no such file"),
        (["--", "show", "x"], "-- show: expected one of demo, evaluate, export, ingest"),
        (["--", "train"], "--manifest: name the dataset"),
        (["--", "train", "--manifest", "m.json"], "manifest: 'm.json' is relative to the folder you are in"),
        (["--", "tables"], "manifest: '' is relative"),
        (["--address", "head:8265", "--", "predict", "--checkpoint", "packaged", "--manifest", "/m", "--output", "/o"],
         "--address: expected the URL of a Ray dashboard, http://HOST:8265, got 'head:8265'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_leaves(capsys, argv, message):
    assert main(["submit", *argv]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"mas-ray submit: {message}")
    assert error.count("\n") == 1


def test_a_file_with_another_kind_of_job(capsys, tmp_path):
    path = tmp_path / "odd.py"
    path.write_text("JOB = 3\n")
    assert main(["submit", str(path)]) == 1
    assert "JOB is a int, expected one of CollectedTablesJob, DemoJob, EvaluateJob" in capsys.readouterr().err


def test_nobody_answers(capsys, job_file):
    assert main(["submit", "--address", "http://127.0.0.1:9", job_file]) == 1
    assert "http://127.0.0.1:9: no Ray dashboard answers" in capsys.readouterr().err


def run_submitted(job, environment):
    made = submission(job)
    return subprocess.run(
        [sys.executable, *made.entrypoint.split()[1:]],
        env=environment | made.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_cluster_runs_the_job_of_the_environment(tmp_path):
    """Its errors are the verb's: one line, and the status."""
    done = run_submitted(TrainJob(manifest=str(tmp_path / "manifest.json"), storage=str(tmp_path)), {})
    assert done.returncode == 1
    assert done.stderr.startswith(f"mas-ray train: {tmp_path / 'manifest.json'}: no such manifest")
    assert done.stderr.count("\n") == 1


def test_a_job_of_another_version_is_told_or_refused(tmp_path):
    job = TrainJob(manifest=str(tmp_path / "manifest.json"), storage=str(tmp_path))
    record = json.loads(submission(job).environment[RECORD]) | {"code_version": "99.0"}
    record["job"]["new_field"] = 1
    done = subprocess.run(
        [sys.executable, "-m", "mas_ray.cli.submitted", "train"],
        env={RECORD: json.dumps(record)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert f"{RECORD}.job: unknown key 'new_field'" in done.stderr
