"""SIGKILL before every file operation of the driver; the next run must not show it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from moving_square import write_take

KILLER = """
import hashlib, json, os, shutil, signal, sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from mas_ray.config.ingest import CropConfig, ProvidedMasks
from mas_ray.config.jobs import IngestJob
from mas_ray.ingest.take_work import ingest_take
from mas_ray.pipelines import ingest as pipeline
from mas_ray.shards import compact

base = Path({base!r})
os.fsync = lambda descriptor: None  # a killed process loses nothing that it has written
compact.SHARD_BYTES = 60_000  # less than a take: takes are cut, shards shared
pipeline.session.connect = nullcontext
pipeline.session.require = lambda workers, what, beside: None


def here(todo, settings, workers, *, most_empty, watch):
    for item in todo:  # each is decoded once; what workers do when they are killed is tested with them
        done = base / "done" / item.content
        if not done.exists():
            ingest_take(item, settings, advance=lambda tally: None)
            shutil.copytree(item.folder, done)
        item.folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(done.iterdir(), key=lambda path: path.name == "commit.json"):  # the record last
            shutil.copyfile(path, item.folder / path.name)


pipeline.ingest_on_ray = here


def attempt(corpus, output, die_at=-1):
    steps = 0

    def audit(event, args):
        nonlocal steps
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(args[0]).startswith(str(output)):
            steps += 1
            if steps == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    if os.fork() == 0:
        sys.addaudithook(audit)
        job = IngestJob(root=str(corpus), output=str(output), masks=ProvidedMasks(), curation=None)  # they look alike
        pipeline.ingest(replace(job, crop=CropConfig(size_px=64)))
        (base / "steps").write_text(str(steps))
        os._exit(0)
    return os.WTERMSIG(os.wait()[1])


def digest(output):
    files = [path for path in output.rglob("*") if path.is_file() and path.parent.name != "work"]
    return {{
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in ("job.json", "attempts")
    }}


clean = base / "clean" / "out"
assert attempt(base / "before", clean) == 0
shutil.copytree(clean.parent, base / "state")
shutil.copytree(base / "state", base / "counted")
assert attempt(base / "after", clean) == attempt(base / "after", base / "counted" / "out") == 0
result = {{"clean": digest(clean), "runs": []}}
for die_at in range(1, int((base / "steps").read_text()) + 1):
    output = base / f"killed-{{die_at}}" / "out"
    shutil.copytree(base / "state", output.parent)
    signals = [attempt(base / "after", output, die_at), attempt(base / "after", output)]
    result["runs"].append({{"signals": signals, "digest": digest(output)}})
    shutil.rmtree(output.parent)
print(json.dumps(result))
"""


@pytest.mark.slow
def test_an_extension_killed_at_any_step_ends_in_the_same_bytes(tmp_path):
    """The second version loses a take, changes one, gains one, and keeps one."""
    for corpus, names in (("before", ("changes", "leaves", "stays")), ("after", ("changes", "comes", "stays"))):
        for name in names:
            num_frames = 5 if (corpus, name) == ("after", "changes") else 4
            write_take(tmp_path / corpus / name, num_frames=num_frames, num_views=1)
    script = KILLER.format(base=str(tmp_path))
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {"manifest.json", "manifest-1.json", "rejects.jsonl"} <= result["clean"].keys()
    assert len(result["runs"]) > 30
    for number, outcome in enumerate(result["runs"], start=1):
        assert outcome["signals"] == [9, 0], number
        left = {name: value for name, value in outcome["digest"].items() if ".partial-" not in name}
        assert left == result["clean"], number
