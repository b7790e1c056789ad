from contextlib import nullcontext

import pytest

from mas_ray.ingest.take_work import ingest_take
from mas_ray.pipelines import ingest as pipeline
from mas_ray.shards import compact


@pytest.fixture
def ingested(monkeypatch):
    """Run the workers' code in this process; gives the takes that needed work."""
    done = []

    def here(todo, settings, workers, *, most_empty, watch):
        for item in todo:
            done.append(item.take.take_id)
            ingest_take(item, settings, advance=lambda tally: None)

    monkeypatch.setattr(pipeline, "ingest_on_ray", here)
    monkeypatch.setattr(pipeline.session, "connect", nullcontext)
    monkeypatch.setattr(pipeline.session, "require", lambda workers, what, beside: None)
    monkeypatch.setattr(compact, "SHARD_BYTES", 100_000)  # two takes of 81 kB
    return done
