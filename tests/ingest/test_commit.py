import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from moving_square import write_take

from mas_ray.config.ingest import CropConfig, FrameSampling, MaskQualityConfig, ProvidedMasks
from mas_ray.corpora.folder import takes
from mas_ray.ingest import commit
from mas_ray.ingest.rejects import Reject
from mas_ray.shards.manifest import IngestParameters, file_sha256
from mas_ray.shards.write import write_rows

PARAMETERS = IngestParameters(
    masks=ProvidedMasks(), mask_quality=MaskQualityConfig(), crop=CropConfig(), sampling=FrameSampling()
)


@pytest.fixture
def take(tmp_path):
    write_take(tmp_path / "corpus" / "walk", num_frames=3)
    (found,) = takes(tmp_path / "corpus")
    return found


def test_key_depends_on_everything_that_shapes_rows(monkeypatch):
    keys = {
        commit.parameters_key(PARAMETERS, None),
        commit.parameters_key(PARAMETERS, "another network"),
        commit.parameters_key(replace(PARAMETERS, crop=CropConfig(margin=1.3)), None),
        commit.parameters_key(replace(PARAMETERS, sampling=FrameSampling(stride=2)), None),
    }
    monkeypatch.setattr(commit, "INGEST_VERSION", commit.INGEST_VERSION + 1)
    keys.add(commit.parameters_key(PARAMETERS, None))
    assert len(keys) == 5


def test_content_follows_the_files_and_not_their_place(take, tmp_path):
    content = commit.take_content(take)
    shutil.copytree(tmp_path / "corpus", tmp_path / "elsewhere")
    (moved,) = takes(tmp_path / "elsewhere")
    assert commit.take_content(moved) == content
    changed = [replace(take, subject="another")]
    for i, clip in enumerate(take.clips):
        calibration = replace(clip.calibration, t_mm=clip.calibration.t_mm + np.array([0.0, 0.0, 1.0]))
        for other in (replace(clip, calibration=calibration), replace(clip, masks=None), replace(clip, view="x")):
            changed.append(replace(take, clips=tuple(other if j == i else c for j, c in enumerate(take.clips))))
    assert len({content, *map(commit.take_content, changed)}) == 1 + len(changed)
    with (tmp_path / "elsewhere" / "walk" / "masks" / "cam1.mp4").open("ab") as file:
        file.write(b"x")
    assert commit.take_content(moved) != content


def test_record_round_trip_and_staleness(tmp_path):
    write_rows(commit.part_path(tmp_path), ())
    record = commit.CommitRecord(
        take_id="walk",
        content="c1",
        sha256=file_sha256(commit.part_path(tmp_path)),
        instants=(0, 4),
        rejects=(Reject(take_id="walk", reason="undecodable", instant=2, view="cam"),),
    )
    assert commit.read_record(tmp_path, "c1") is None
    commit.write_record(tmp_path, record)
    assert commit.read_record(tmp_path, "c1") == record
    assert commit.read_record(tmp_path, "c2") is None
    assert commit.has_part(tmp_path, record)
    with commit.part_path(tmp_path).open("ab") as file:
        file.write(b"x")
    assert not commit.has_part(tmp_path, record)
    commit.part_path(tmp_path).unlink()
    assert not commit.has_part(tmp_path, record)


@pytest.mark.parametrize("text", ["", "[]", '{"take_id": "walk"}', '{"rejects": [{"what": 1}], "instants": []}'])
def test_something_else_in_the_place_of_a_record(tmp_path, text):
    (tmp_path / "commit.json").write_text(text)
    assert commit.has_record(tmp_path)
    with pytest.raises(ValueError, match=r"commit\.json: not a commit record"):
        commit.read_record(tmp_path, "c1")


def test_discard_forgets_everything_of_a_take(tmp_path):
    (tmp_path / "attempts").write_text("attempt old c1\n")
    (tmp_path / "commit.json").write_text("{}")
    write_rows(commit.part_path(tmp_path), ())
    commit.discard(tmp_path)
    commit.discard(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_digest_that_is_known_is_used(take):
    files = commit.take_files(take)
    assert sorted(files) == sorted(path for clip in take.clips for path in (clip.video, f"{clip.masks}"))
    known = {path: file_sha256(Path(path)) for path in files}
    assert commit.take_content(take, lambda path: known[str(path)]) == commit.take_content(take)
    assert commit.take_content(take, lambda path: "0") != commit.take_content(take)


def test_attempts_that_end_take_their_line_back(tmp_path):
    with commit.attempt(tmp_path / "walk", "c1", "now"):
        assert commit.num_deaths(tmp_path / "walk", "c1") == 1
    with pytest.raises(OSError, match="disk"), commit.attempt(tmp_path / "walk", "c1", "now"):
        raise OSError("disk is full")
    assert commit.num_deaths(tmp_path / "walk", "c1") == 0


def test_deaths_count_by_content_and_session(tmp_path):
    (tmp_path / "attempts").write_text("attempt old c1\nattempt now c1\nattempt now c2\n")
    (tmp_path / "part.parquet.partial-77").write_text("left behind")
    with commit.attempt(tmp_path, "c1", "now"):
        assert commit.num_deaths(tmp_path, "c1", "now") == 2
        assert not list(tmp_path.glob("*.partial-*"))
    assert commit.num_deaths(tmp_path, "c1") == 2
    assert commit.num_deaths(tmp_path, "c1", "now") == 1
    assert commit.num_deaths(tmp_path, "c2") == 1
    commit.forget_attempt(tmp_path, "old")
    assert commit.num_deaths(tmp_path, "c1") == 1
    commit.forget_attempt(tmp_path, "old")
    assert commit.num_deaths(tmp_path, "c1") == 1
