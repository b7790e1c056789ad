"""Every kind of hostile clip in one corpus, through the whole of ingest but Ray."""

import json
from contextlib import nullcontext

import pytest
from hostile_clips import write_hostile_clips

from mas_ray.config.ingest import ProvidedMasks
from mas_ray.config.jobs import IngestJob
from mas_ray.corpora.names import take_ids
from mas_ray.ingest.take_work import ingest_take
from mas_ray.pipelines import ingest as pipeline
from mas_ray.pipelines.ingest import ingest


@pytest.mark.slow
def test_every_hostile_clip_has_the_expected_outcome_and_nothing_is_written_elsewhere(tmp_path, monkeypatch):
    def here(todo, settings, workers, *, most_empty, watch):
        for item in todo:
            ingest_take(item, settings, advance=lambda tally: None)

    monkeypatch.setattr(pipeline, "ingest_on_ray", here)
    monkeypatch.setattr(pipeline.session, "connect", nullcontext)
    monkeypatch.setattr(pipeline.session, "require", lambda workers, what, beside: None)
    clips = write_hostile_clips(tmp_path / "corpus")
    before = sorted(tmp_path.rglob("*"))
    output = tmp_path / "dataset"
    manifest = ingest(
        IngestJob(root=str(tmp_path / "corpus"), output=str(output), masks=ProvidedMasks(), max_reject_fraction=1.0)
    )
    found = {take.take_id: "accepted" for take in manifest.takes}
    for line in (output / "rejects.jsonl").read_text().splitlines():
        reject = json.loads(line)
        if reject["instant"] is None:
            found[reject["take_id"]] = reject["reason"]
    ids = take_ids([clip.name for clip in clips])
    # Masks that are given are taken as they are, whoever else is in the picture.
    expected = {
        take_id: "accepted" if clip.decided_by == "people" else clip.outcome
        for take_id, clip in zip(ids, clips, strict=True)
        if clip.outcome != "not_listed"
    }
    assert {take_id: found.get(take_id) for take_id in expected} == expected
    assert len({clip.kind for clip in clips if clip.outcome != "accepted"}) >= 40
    assert sorted(path for path in tmp_path.rglob("*") if output not in (path, *path.parents)) == before
