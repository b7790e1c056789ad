import itertools
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from frame_set_rows import rows

from mas_ray.config.ingest import CropConfig, FrameSampling, MaskQualityConfig, NoSplit, ProvidedMasks
from mas_ray.shards import compact
from mas_ray.shards.compact import Slice, plan_layout, slices_of_shards, write_shard
from mas_ray.shards.manifest import FORMAT, IngestParameters, Manifest, Splits, TakeEntry, file_sha256
from mas_ray.shards.read import read_rows, read_tables
from mas_ray.shards.write import write_rows


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(compact, "SHARD_BYTES", 100)


def entry(take_id, num_instants, rows_sha256="first"):
    return TakeEntry(
        take_id=take_id, subject="", action="", views=("v",), num_instants=num_instants, rows_sha256=rows_sha256
    )


def manifest(takes, layout):
    parameters = IngestParameters(
        masks=ProvidedMasks(), mask_quality=MaskQualityConfig(), crop=CropConfig(), sampling=FrameSampling()
    )
    return Manifest(
        format=FORMAT,
        schema_version=1,
        code_version="0",
        corpus="folder",
        parameters=parameters,
        split_config=NoSplit(),
        takes=tuple(takes),
        shards=tuple(planned.entry("hash") for planned in layout),
        splits=Splits(train=(), validation=(), test=()),
        rejects=(),
    )


def plan(takes, old=None, *, row_bytes=10):
    totals = {take.take_id: take.num_instants for take in takes}
    return plan_layout(takes, lambda take_id: totals[take_id] * row_bytes, old)


def shape(layout):
    return [[(piece.take_id, piece.start, piece.stop) for piece in planned.slices] for planned in layout]


def test_shards_fill_up_in_order_and_only_large_takes_are_cut():
    takes = [entry("a", 6), entry("b", 8), entry("c", 2), entry("d", 25), entry("e", 1)]
    assert shape(plan(takes)) == [
        [("a", 0, 6), ("b", 0, 8)],
        [("c", 0, 2), ("d", 0, 8)],
        [("d", 8, 18)],
        [("d", 18, 25), ("e", 0, 1)],
    ]
    assert plan([]) == ()


def test_no_shard_is_twice_as_large():
    sizes = [1, 99, 10, 10, 350, 7, 100, 3, 64, 64]
    takes = [entry(f"t{i}", size) for i, size in enumerate(sizes)]
    layout = plan(takes, row_bytes=1)
    assert all(100 <= planned.num_rows < 200 for planned in layout[:-1])
    pieces = [piece for planned in layout for piece in planned.slices]
    assert [(t, r) for t, s, e in itertools.chain(*shape(layout)) for r in range(s, e)] == [
        (take.take_id, row) for take in takes for row in range(take.num_instants)
    ]
    assert {piece.take_id for piece in pieces if piece.start} == {"t4"}


def test_names_follow_the_rows():
    takes = [entry("a", 6), entry("b", 8)]
    (shard,) = plan(takes)
    assert plan(takes) == (shard,)
    (other,) = plan([takes[0], replace(takes[1], rows_sha256="second")])
    assert other.path != shard.path


def test_new_takes_go_to_new_shards():
    takes = [entry("b", 12), entry("d", 11), entry("e", 3)]
    first = plan(takes)
    second = plan([entry("a", 2), takes[0], entry("c", 4), *takes[1:]], manifest(takes, first))
    assert second[: len(first)] == first
    assert shape(second)[len(first) :] == [[("a", 0, 2), ("c", 0, 4)]]


def test_only_shards_of_takes_that_left_or_changed_are_written_anew():
    takes = [entry("a", 5), entry("b", 5), entry("c", 35), entry("d", 9), entry("e", 10)]
    first = plan(takes)
    assert shape(first) == [
        [("a", 0, 5), ("b", 0, 5)],
        [("c", 0, 10)],
        [("c", 10, 20)],
        [("c", 20, 30)],
        [("c", 30, 35), ("d", 0, 9)],
        [("e", 0, 10)],
    ]
    changed = [takes[0], entry("b", 4, "second"), takes[3], takes[4]]
    second = plan(changed, manifest(takes, first))
    assert shape(second) == [[("a", 0, 5)], [("d", 0, 9)], [("e", 0, 10)], [("b", 0, 4)]]
    assert second[2] == first[5]
    assert not {planned.path for planned in second[:2] + second[3:]} & {planned.path for planned in first}
    kept = manifest(changed, second)
    assert plan(changed, kept) == second
    assert [planned.slices for planned in second] == list(slices_of_shards(kept))


def test_slices_are_found_again_from_the_manifest():
    takes = [entry("a", 6), entry("b", 8), entry("c", 2), entry("d", 35), entry("e", 1)]
    layout = plan(takes)
    assert slices_of_shards(manifest(takes, layout)) == tuple(planned.slices for planned in layout)


def test_shards_hold_every_row_once_and_equal_those_of_rows(tmp_path):
    takes = {"a": rows("a", 40), "b": rows("b", 170), "c": rows("c", 3)}
    for take_id, of_take in takes.items():
        write_rows(tmp_path / take_id, of_take)
    layout = plan([entry(take_id, len(of_take)) for take_id, of_take in takes.items()], row_bytes=1)
    assert shape(layout) == [[("a", 0, 40), ("b", 0, 60)], [("b", 60, 160)], [("b", 160, 170), ("c", 0, 3)]]
    for planned in layout:
        sha256 = write_shard(
            tmp_path, planned, lambda piece: read_tables(tmp_path / piece.take_id, piece.start, piece.stop)
        )
        expected = [row for piece in planned.slices for row in takes[piece.take_id][piece.start : piece.stop]]
        assert list(read_rows(tmp_path / planned.path)) == expected
        write_rows(tmp_path / "by rows", expected)
        assert sha256 == file_sha256(tmp_path / planned.path) == file_sha256(tmp_path / "by rows")
        metadata = pq.ParquetFile(tmp_path / planned.path).metadata
        assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)][:-1] == [32] * (
            metadata.num_row_groups - 1
        )


def test_missing_rows_are_an_error(tmp_path):
    write_rows(tmp_path / "a", rows("a", 3))
    (planned,) = plan([entry("a", 4)])
    with pytest.raises(ValueError, match="got 3 rows, expected 4"):
        write_shard(tmp_path, planned, lambda piece: read_tables(tmp_path / "a", piece.start, piece.stop))
    assert not (tmp_path / planned.path).exists()
    assert planned.slices == (Slice(take_id="a", start=0, stop=4),)
