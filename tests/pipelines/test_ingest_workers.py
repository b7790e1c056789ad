import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray.data
from ray.exceptions import RayActorError

from mas_ray.config.ingest import CropConfig, DecodeLimits, FrameSampling, MaskQualityConfig, ProvidedMasks
from mas_ray.config.jobs import Workers
from mas_ray.corpora.take import Take
from mas_ray.ingest.take_rows import TakeSettings
from mas_ray.ingest.take_work import PlannedTake
from mas_ray.pipelines import ingest_workers
from mas_ray.shards.manifest import IngestParameters

SETTINGS = TakeSettings(
    parameters=IngestParameters(
        masks=ProvidedMasks(), mask_quality=MaskQualityConfig(), crop=CropConfig(), sampling=FrameSampling()
    ),
    masks=ProvidedMasks(),
    limits=DecodeLimits(),
    session="s",
    max_attempts=3,
    num_threads=1,
    selfie_model=None,
)


def test_a_counter_whose_process_is_killed_stops_the_count_alone(monkeypatch):
    def get(reference):
        raise RayActorError

    raised, watched = [], []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    monkeypatch.setattr(ingest_workers.ray, "get", get)
    counter = SimpleNamespace(total=SimpleNamespace(remote=lambda: None))
    with ingest_workers._polled(counter, lambda num, **figures: None, watched.append):
        pass
    assert raised == watched == []


@pytest.mark.parametrize(("num_takes", "num_tasks"), [(3, 3), (100_000, 10_000)])
def test_a_take_is_a_task_until_there_are_too_many(monkeypatch, num_takes, num_tasks):
    class AskedError(Exception):
        pass

    def from_items(items, *, override_num_blocks):
        assert (len(items), override_num_blocks) == (num_takes, num_tasks)
        raise AskedError

    monkeypatch.setattr(ray.data, "from_items", from_items)
    ray.data.DataContext.get_current()  # imports more of Ray, which needs it as it is
    monkeypatch.setattr(ray, "remote", lambda **_: lambda cls: SimpleNamespace(remote=lambda: None))
    take = Take(take_id="t", subject="s", action="a", clips=())
    todo = [PlannedTake(take=take, folder=Path("t"), content="c", footage="f")] * num_takes
    with pytest.raises(AskedError):
        ingest_workers.ingest_on_ray(todo, SETTINGS, Workers(), most_empty=0, watch=lambda tally: None)
