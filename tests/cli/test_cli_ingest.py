import re
from dataclasses import replace

import pytest

from mas_ray.cli import ingest as verb
from mas_ray.config import codec
from mas_ray.config.ingest import FrameSampling, ProvidedMasks, SelfieMasks, SplitByTail
from mas_ray.config.jobs import IngestJob, Workers
from mas_ray.pipelines import ingest as pipeline
from mas_ray.shards.manifest import read_manifest


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
        "--actions",
        "--corpus",
        "--output",
        "--work",
        "--annotations",
        "--masks",
        "--stride",
        "--split",
        "--workers",
        "--job",
    }


def test_the_end_says_what_each_split_has(monkeypatch, tiny_dataset, capsys):
    manifest = read_manifest(tiny_dataset.manifest)  # three takes of eight instants, by subject
    monkeypatch.setattr(pipeline, "ingest", lambda job: manifest)
    assert verb.show(IngestJob(root="clips", output="data")) == 0
    out = capsys.readouterr().out
    assert "  instants: 8 train, 8 validate, 8 test\n" in out
    assert "only" not in out
    monkeypatch.setattr(
        pipeline, "ingest", lambda job: replace(manifest, split_config=SplitByTail(test=6, gap=1, validation=0))
    )
    verb.show(IngestJob(root="clips", output="data"))
    assert "  only 12% of the instants train; the job's `split` says" in capsys.readouterr().out
