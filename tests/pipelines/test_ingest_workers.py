import threading
from types import SimpleNamespace

from ray.exceptions import RayActorError

from mas_ray.pipelines import ingest_workers


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
