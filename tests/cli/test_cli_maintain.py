"""verify, gc and requeue on a dataset that ingest wrote, through the command line."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from moving_square import write_take

from mas_ray.cli.main import main
from mas_ray.config.ingest import CropConfig, FrameSampling, ProvidedMasks, SplitByTail
from mas_ray.config.jobs import IngestJob
from mas_ray.ingest import commit
from mas_ray.ingest.take_work import ingest_take
from mas_ray.pipelines import ingest as pipeline
from mas_ray.pipelines.dataset_lock import locked
from mas_ray.pipelines.ingest import ingest
from mas_ray.shards import compact
from mas_ray.shards.manifest import InstantRange, file_sha256, read_manifest, write_manifest
from mas_ray.shards.read import read_dataset, read_rows
from mas_ray.shards.write import write_rows


def _without_ray(patch):
    def here(todo, settings, workers, *, most_empty, watch):
        for item in todo:
            ingest_take(item, settings, advance=lambda tally: None)

    patch.setattr(pipeline, "ingest_on_ray", here)
    patch.setattr(pipeline.session, "connect", nullcontext)
    patch.setattr(pipeline.session, "require", lambda workers, what, beside: None)
    patch.setattr(compact, "SHARD_BYTES", 30_000)  # takes are cut in two


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pristine")
    for name in ("run", "walk"):
        write_take(folder / "corpus" / name, num_frames=5)
    (folder / "corpus" / "broken.mp4").write_text("not a video")
    with pytest.MonkeyPatch.context() as patch:
        _without_ray(patch)
        ingest(_job(folder))
    return folder


@pytest.fixture
def folder(pristine, tmp_path, monkeypatch):
    """The corpus and its dataset, to be damaged."""
    _without_ray(monkeypatch)
    return shutil.copytree(pristine, tmp_path / "place")


def _job(folder):
    return IngestJob(
        root=str(folder / "corpus"),
        output=str(folder / "dataset"),
        masks=ProvidedMasks(),
        crop=CropConfig(size_px=64),
        curation=None,  # the takes look alike
        max_reject_fraction=0.8,
    )


def _verify(folder, capsys, *flags):
    capsys.readouterr()
    status = main(["verify", str(folder / "dataset"), *flags])
    out, err = capsys.readouterr()
    faults = [line for line in err.splitlines() if not line.startswith("verify: ")]  # the progress
    assert status == (1 if faults else 0)
    return out, faults


def _edit(folder, **changes):
    path = folder / "dataset" / "manifest.json"
    write_manifest(path, replace(read_manifest(path), **changes))


def _rewrite(folder, change):
    """Change the rows of the first shard, and let the manifest know its new bytes."""
    path = folder / "dataset" / "manifest.json"
    manifest = read_manifest(path)
    shard = path.parent / manifest.shards[0].path
    write_rows(shard, [change(row) for row in list(read_rows(shard))])
    entry = replace(manifest.shards[0], sha256=file_sha256(shard))
    write_manifest(path, replace(manifest, shards=(entry, *manifest.shards[1:])))
    return entry.path


def test_verify_a_good_dataset(folder, capsys):
    out, faults = _verify(folder, capsys, "--sample", "100")
    assert faults == []
    assert out.splitlines() == [
        f"{folder / 'dataset'}: 4 shards, 10 rows, 10 of them decoded: no faults",
        f"{folder / 'dataset'}: instants: 10 train, 0 validate, 0 test",
    ]
    out, faults = _verify(folder, capsys, "--sample", "5")
    assert "5 of them decoded" in out


def test_verify_says_that_little_is_left_to_train_on(folder, capsys):
    ingest(replace(_job(folder), split=SplitByTail(test=2, gap=1, validation=1)))  # of takes of five instants
    out, _ = _verify(folder, capsys)
    assert "instants: 2 train, 2 validate, 4 test, 2 in the gap between them" in out
    assert "only" not in out
    for name in ("run", "walk"):
        shutil.rmtree(folder / "corpus" / name)
        write_take(folder / "corpus" / name, num_frames=8)
    ingest(replace(_job(folder), split=SplitByTail(test=5, gap=1, validation=1)))
    out, _ = _verify(folder, capsys)
    assert "only 12% of the instants train; the job's `split` says what is held out" in out


def test_verify_finds_damaged_bytes(folder, capsys):
    first, second, *_ = read_manifest(folder / "dataset" / "manifest.json").shards
    path = folder / "dataset" / first.path
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 1
    path.write_bytes(data)
    (folder / "dataset" / second.path).unlink()
    out, faults = _verify(folder, capsys)
    assert [fault.split(" is ")[0] for fault in faults if "sha256" in fault] == [f"{first.path}: sha256"]
    assert f"{second.path}: missing" in faults
    assert f"{len(faults)} faults" in out
    path.write_bytes(data[:-10])
    _, faults = _verify(folder, capsys)
    assert any(fault.startswith(f"{first.path}: not readable") for fault in faults)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("image", b"no jpeg", "does not decode: image: not a decodable JPEG"),
        ("image", b"", "does not decode"),
        ("mask", b"no zstd", "does not decode"),
        ("geodesic_distance", b"", "does not decode"),
        ("t_mm", [0.0, float("nan"), 0.0], "crop or camera is not finite"),
        ("name", "cam7", "the manifest does not know the view"),
    ],
)
def test_verify_finds_rows_that_do_not_decode(folder, capsys, field, value, text):
    def change(row):
        if row["instant"] == 1:
            row["views"][0][field] = value
        return row

    path = _rewrite(folder, change)
    _, faults = _verify(folder, capsys, "--sample", "100")
    assert len(faults) == 1
    assert faults[0].startswith(f"{path}: take run instant 1 view ")
    assert text in faults[0]


def test_verify_finds_rows_out_of_place(folder, capsys):
    path = _rewrite(folder, lambda row: {**row, "take_id": "walk"})
    _, faults = _verify(folder, capsys)
    assert f"{path}: rows are not of the takes that the manifest says, in its order" in faults
    _rewrite(folder, lambda row: {**row, "take_id": "run", "instant": 0})
    _, faults = _verify(folder, capsys)
    assert faults == ["take run: instants are not in order, each once"]


def test_verify_finds_a_manifest_that_contradicts_itself(folder, capsys):
    manifest = read_manifest(folder / "dataset" / "manifest.json")
    ghost = InstantRange(take_id="ghost", start=0, stop=1)
    twice = InstantRange(take_id="walk", start=4, stop=5)
    _edit(folder, splits=replace(manifest.splits, validation=(ghost,), test=(twice,)))
    _, faults = _verify(folder, capsys)
    assert faults == [
        "manifest.json: splits.validation refers to an unknown take 'ghost'",
        "manifest.json: take 'walk' has instants both in train and in test",
    ]
    _edit(folder, splits=manifest.splits, takes=manifest.takes[:1])
    _, faults = _verify(folder, capsys)
    assert "manifest.json: rows_sha256 is not that of the takes" in faults
    assert "manifest.json: statistics are not those of the takes" in faults
    assert any(fault.endswith("holds an unknown take 'walk'") for fault in faults)


def test_verify_counts_rejects(folder, capsys):
    path = folder / "dataset" / "rejects.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "unreadable_video" not in line) + "nonsense\n")
    _, faults = _verify(folder, capsys)
    assert faults == [
        f"rejects.jsonl: line {len(lines)} is no reject",
        "rejects.jsonl: 0 rejects 'unreadable_video', the manifest counts 1",
    ]


def test_verify_without_a_dataset_is_one_line(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 1
    assert "no such manifest" in capsys.readouterr().err


def _gc(folder, capsys, *flags):
    capsys.readouterr()
    assert main(["gc", str(folder / "dataset"), *flags]) == 0
    return capsys.readouterr().out


def test_gc_of_a_clean_dataset_removes_nothing(folder, capsys):
    before = sorted(folder.rglob("*"))
    assert _gc(folder, capsys) == f"{folder / 'dataset'}: nothing to remove\n"
    assert sorted(folder.rglob("*")) == before


def test_gc_removes_what_no_kept_version_needs(folder, capsys):
    output = folder / "dataset"
    first = read_manifest(output / "manifest.json")
    shutil.rmtree(folder / "corpus" / "run")
    second = ingest(_job(folder))
    third = ingest(replace(_job(folder), sampling=FrameSampling(stride=2)))
    partial = output / "work" / third.key / "walk" / "part.parquet.partial-77"
    partial.write_bytes(b"12345")
    gone = {output / shard.path for shard in first.shards} - {output / shard.path for shard in second.shards}
    kept = sorted(path for path in output.rglob("*") if path.is_file())
    told = _gc(folder, capsys, "--keep", "2", "--dry-run")
    assert sorted(path for path in output.rglob("*") if path.is_file()) == kept
    assert told.count("would remove") == len(gone) + 2
    num_bytes = sum(path.stat().st_size for path in gone)
    assert _gc(folder, capsys, "--keep", "2") == told.replace("would remove", "removed")
    assert not partial.exists()
    assert not any(path.exists() for path in gone)
    assert not (output / "manifest-1.json").exists()
    (shards,) = [line for line in told.splitlines() if "shards of no kept version" in line]
    assert shards.split()[-3:-1] == [str(len(gone)), f"{num_bytes / 1e6:.2f}"]
    assert len(list(read_dataset(output, read_manifest(output / "manifest-2.json")))) == 5
    _gc(folder, capsys)
    assert sorted(path.name for path in output.glob("manifest*")) == ["manifest.json"]
    assert {path.name for path in (output / "work").iterdir() if path.is_dir()} == {third.key}
    assert {f"shards/{path.name}" for path in (output / "shards").iterdir()} == {s.path for s in third.shards}
    assert _verify(folder, capsys)[1] == []
    assert ingest(replace(_job(folder), sampling=FrameSampling(stride=2))) == third


def test_gc_leaves_what_an_unfinished_ingest_has_committed(folder, capsys, monkeypatch):
    write_take(folder / "corpus" / "anew", num_frames=3)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "assemble", lambda *_: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            ingest(_job(folder))
    assert "nothing to remove" in _gc(folder, capsys)
    (part,) = (folder / "dataset").rglob("part.parquet")
    held = read_manifest(folder / "dataset" / "manifest.json")
    run = part.parents[1] / "run"
    write_rows(commit.part_path(run), read_rows(folder / "dataset" / held.shards[0].path))
    assert _gc(folder, capsys).splitlines()[0] == f"removed work/{held.key}/run/part.parquet"
    assert part.exists()


def test_gc_asks_for_a_version_and_for_nobody_writing(folder, capsys):
    assert main(["gc", str(folder / "dataset"), "--keep", "0"]) == 1
    assert "keep: expected at least one version, got 0" in capsys.readouterr().err
    with locked(folder / "dataset" / "work", folder / "dataset"):
        assert main(["gc", str(folder / "dataset")]) == 1
    assert "another process is writing" in capsys.readouterr().err


def test_requeued_takes_are_tried_again(folder, capsys, monkeypatch):
    real = commit.num_deaths
    write_take(folder / "corpus" / "poison", num_frames=3)
    write_take(folder / "corpus" / "poison2", num_frames=3)
    with monkeypatch.context() as patch:
        patch.setattr(commit, "num_deaths", lambda f, c, s=None: 3 if f.name.startswith("poison") else real(f, c, s))
        manifest = ingest(_job(folder))
    assert [take.take_id for take in manifest.takes] == ["run", "walk"]
    work = folder / "dataset" / "work" / manifest.key
    (work / "poison" / "attempts").write_text("attempt old c\n")
    assert ingest(_job(folder)) == manifest
    capsys.readouterr()
    assert main(["requeue", str(folder / "dataset"), "--reason", "crashed", "--take", "poison"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("poison: killed its worker")
    assert out[1] == f"{folder / 'dataset'}: 1 take(s) will be tried again by the next ingest"
    assert list((work / "poison").iterdir()) == []
    assert [take.take_id for take in ingest(_job(folder)).takes] == ["poison", "run", "walk"]
    assert main(["requeue", str(folder / "dataset"), "--reason", "crashed"]) == 0
    assert [take.take_id for take in ingest(_job(folder)).takes] == ["poison", "poison2", "run", "walk"]


def test_requeue_names_what_it_does_not_find(folder, capsys):
    dataset = str(folder / "dataset")
    assert main(["requeue", dataset, "--reason", "no_person"]) == 1  # a view's reject, not a take's
    assert "no take left out for the reason 'no_person'" in capsys.readouterr().err
    assert main(["requeue", dataset, "--reason", "unreadable_video", "--take", "walk"]) == 1
    assert "take 'walk' is not left out for the reason 'unreadable_video'" in capsys.readouterr().err
    assert main(["requeue", str(folder / "corpus"), "--reason", "crashed"]) == 1
    assert "expected the one where ingest made" in capsys.readouterr().err
    assert json.loads((Path(dataset) / "rejects.jsonl").read_text().splitlines()[0])["reason"] == "unreadable_video"
