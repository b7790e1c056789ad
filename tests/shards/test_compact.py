import itertools

import pytest
from frame_set_rows import rows

from mas_ray.shards import compact
from mas_ray.shards.compact import Slice, plan_shards, write_shard
from mas_ray.shards.manifest import file_sha256
from mas_ray.shards.read import read_rows


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(compact, "ROWS_PER_SHARD", 10)


def test_takes_are_packed_in_order_and_no_shard_is_too_large():
    plan = plan_shards({"a": 4, "b": 17, "none": 0, "c": 3}, version="v1")
    assert plan == {
        "shards/v1/part-00000.parquet": (
            Slice(take_id="a", start=0, stop=4),
            Slice(take_id="b", start=0, stop=6),
        ),
        "shards/v1/part-00001.parquet": (Slice(take_id="b", start=6, stop=16),),
        "shards/v1/part-00002.parquet": (
            Slice(take_id="b", start=16, stop=17),
            Slice(take_id="c", start=0, stop=3),
        ),
    }
    assert plan_shards({}, version="v1") == {}


def test_shards_hold_every_row_once(tmp_path):
    takes = {"a": rows("a", 4), "b": rows("b", 17), "c": rows("c", 3)}
    plan = plan_shards({take_id: len(found) for take_id, found in takes.items()}, version="v1")
    entries = [write_shard(tmp_path, path, slices, lambda t: iter(takes[t])) for path, slices in plan.items()]
    assert [entry.rows for entry in entries] == [10, 10, 4]
    assert [entry.takes for entry in entries] == [("a", "b"), ("b",), ("b", "c")]
    assert all(entry.sha256 == file_sha256(tmp_path / entry.path) for entry in entries)
    found = itertools.chain.from_iterable(read_rows(tmp_path / entry.path) for entry in entries)
    assert list(found) == list(itertools.chain.from_iterable(takes.values()))


def test_missing_rows_are_an_error(tmp_path):
    (item,) = plan_shards({"a": 4}, version="v1").items()
    with pytest.raises(ValueError, match="got 3 rows, expected 4"):
        write_shard(tmp_path, *item, lambda t: iter(rows(t, 3)))
