import re

import pytest

from mas_ray.cli import ingest as verb
from mas_ray.config import codec
from mas_ray.config.ingest import FrameSampling, ProvidedMasks, SelfieMasks
from mas_ray.config.jobs import IngestJob, Workers
from mas_ray.pipelines import ingest as pipeline


@pytest.fixture
def jobs(monkeypatch):
    seen = []

    class Stop(ValueError):
        pass

    def note(job):
        seen.append(job)
        raise Stop("seen")

    monkeypatch.setattr(pipeline, "ingest", note)
    return seen


def run(*argv):
    with pytest.raises(ValueError, match="seen"):
        verb.run(list(argv))


def test_flags_make_a_job(jobs):
    run("--root", "clips", "--output", "data", "--masks", "provided", "--stride", "2", "--workers", "3")
    run("--root", "clips", "--output", "data")
    assert jobs == [
        IngestJob(
            root="clips",
            output="data",
            masks=ProvidedMasks(),
            sampling=FrameSampling(stride=2),
            workers=Workers(num=3),
        ),
        IngestJob(root="clips", output="data", masks=SelfieMasks()),
    ]


def test_a_record_is_replayed_strictly(jobs, tmp_path):
    job = IngestJob(root="clips", output="data", masks=ProvidedMasks(), max_attempts=7)
    path = tmp_path / "job.json"
    path.write_text(codec.dumps(job))
    run("--job", str(path))
    assert jobs == [job]
    path.write_text(codec.dumps(job).replace("max_attempts", "max_atempts"))
    with pytest.raises(ValueError, match=r"job\.json: unknown key 'max_atempts'; did you mean 'max_attempts'"):
        verb.run(["--job", str(path)])


def test_missing_flags_are_named():
    with pytest.raises(ValueError, match="--root, --output: name the corpus"):
        verb.run([])


def test_help_lists_these_flags_alone(capsys):
    with pytest.raises(SystemExit):
        verb.run(["--help"])
    flags = set(re.findall(r"--[a-z-]*[a-z]", capsys.readouterr().out)) - {"--help"}
    assert flags == {
        "--root",
        "--output",
        "--work",
        "--annotations",
        "--masks",
        "--stride",
        "--split",
        "--workers",
        "--job",
    }
