import itertools
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from frame_set_rows import row, rows

from mas_ray.config.ingest import CropConfig, FrameSampling, MaskQualityConfig, NoSplit, ProvidedMasks
from mas_ray.shards.manifest import (
    FORMAT,
    IngestParameters,
    InstantRange,
    Manifest,
    ShardEntry,
    Splits,
    TakeEntry,
    file_sha256,
)
from mas_ray.shards.read import (
    cut_tables,
    measure_rows,
    read_dataset,
    read_rows,
    read_split,
    read_tables,
    read_take,
)
from mas_ray.shards.schema import FRAME_SET
from mas_ray.shards.write import ROWS_PER_GROUP, write_rows, write_tables, write_text


def test_round_trip_in_bounded_row_groups(tmp_path):
    path = tmp_path / "new" / "part.parquet"
    written = rows("a", 2 * ROWS_PER_GROUP + 3)
    assert write_rows(path, iter(written)) == len(written)
    assert list(read_rows(path)) == written
    metadata = pq.ParquetFile(path).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [32, 32, 3]
    assert {metadata.row_group(0).column(i).compression for i in range(metadata.num_columns)} == {"UNCOMPRESSED"}
    assert [item.name for item in path.parent.iterdir()] == ["part.parquet"]


def test_equal_rows_give_equal_bytes(tmp_path):
    for name in ("x", "y"):
        write_rows(tmp_path / name, iter(rows("a", 70)))
    write_rows(tmp_path / "again", read_rows(tmp_path / "x"))
    assert len({file_sha256(tmp_path / name) for name in ("x", "y", "again")}) == 1


@pytest.mark.parametrize("cuts", [(0, 70), (0, 1, 33, 64, 65, 70), tuple(range(0, 71, 7))])
def test_tables_of_any_length_give_the_bytes_of_their_rows(tmp_path, cuts):
    write_rows(tmp_path / "rows", rows("a", 70))
    pieces = [next(read_tables(tmp_path / "rows")).slice(0, 0)]  # an empty one does no harm
    for start, stop in itertools.pairwise(cuts):
        pieces += read_tables(tmp_path / "rows", start, stop)
    assert write_tables(tmp_path / "tables", pieces) == 70
    assert file_sha256(tmp_path / "tables") == file_sha256(tmp_path / "rows")


@pytest.mark.parametrize(("start", "stop"), [(0, None), (0, 0), (5, 40), (32, 64), (40, 41), (69, None), (64, 999)])
def test_a_range_of_rows(tmp_path, start, stop):
    written = rows("a", 70)
    write_rows(tmp_path / "part", written)
    found = [item for table in read_tables(tmp_path / "part", start, stop) for item in table.to_pylist()]
    assert found == written[start:stop]
    cut = cut_tables(read_tables(tmp_path / "part"), start, stop)
    assert [item for table in cut for item in table.to_pylist()] == found


def test_measure_rows(tmp_path):
    """A gap is not covered; three of the rows have two views and one has one."""
    write_rows(tmp_path / "part", [row("a", i) for i in (0, 5, 10)] + [row("a", 100, views=("cam1",))])
    num_views, seconds = measure_rows(tmp_path / "part")
    assert num_views == 7
    assert seconds == pytest.approx(4 * 5 / 25)
    write_rows(tmp_path / "one", [row("a", 3)])
    assert measure_rows(tmp_path / "one") == (2, 0.0)


def test_no_rows_are_a_file_too(tmp_path):
    assert write_rows(tmp_path / "part.parquet", ()) == 0
    assert list(read_rows(tmp_path / "part.parquet")) == []


def test_a_failure_half_way_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "part.parquet"
    write_rows(path, rows("old", 3))

    def failing():
        yield from rows("new", 40)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_rows(path, failing())
    assert list(read_rows(path)) == rows("old", 3)
    assert [item.name for item in tmp_path.iterdir()] == ["part.parquet"]


def test_rows_are_streamed(tmp_path):
    """No more than a row group is taken before the first is written."""
    sizes = []
    path = tmp_path / "part.parquet"

    def counted():
        for instant in range(3 * ROWS_PER_GROUP):
            partials = list(tmp_path.glob("*.partial-*"))
            sizes.append(partials[0].stat().st_size if partials else 0)
            yield row("a", instant)

    write_rows(path, counted())
    assert sizes[ROWS_PER_GROUP + 1] > sizes[0]


def test_not_a_shard(tmp_path):
    path = tmp_path / "part.parquet"
    with pytest.raises(ValueError, match=r"part\.parquet: not a readable shard"):
        list(read_rows(path))
    path.write_text("nonsense")
    with pytest.raises(ValueError, match=r"part\.parquet: not a readable shard"):
        list(read_rows(path))
    pq.write_table(FRAME_SET.empty_table().replace_schema_metadata({"mas_ray_schema": "0"}), path)
    with pytest.raises(ValueError, match=r"part\.parquet: schema version 0"):
        list(read_rows(path))


def test_write_text_replaces_as_a_whole(tmp_path):
    write_text(tmp_path / "x.json", "one")
    write_text(tmp_path / "x.json", "two")
    assert (tmp_path / "x.json").read_text() == "two"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def dataset(tmp_path):
    """Two shards; take b spans both."""
    everything = rows("a", 5) + rows("b", 6)
    shards = []
    for i, part in enumerate((everything[:8], everything[8:])):
        path = f"shards/part-{i:05d}.parquet"
        write_rows(tmp_path / path, part)
        takes = tuple(sorted({item["take_id"] for item in part}))
        shards.append(ShardEntry(path=path, rows=len(part), sha256=file_sha256(tmp_path / path), takes=takes))
    parameters = IngestParameters(
        masks=ProvidedMasks(), mask_quality=MaskQualityConfig(), crop=CropConfig(), sampling=FrameSampling()
    )
    train = (InstantRange(take_id="a", start=0, stop=4), InstantRange(take_id="b", start=1, stop=5))
    return tmp_path, Manifest(
        format=FORMAT,
        schema_version=1,
        code_version="0",
        corpus="folder",
        parameters=parameters,
        split_config=NoSplit(),
        takes=tuple(
            TakeEntry(take_id=t, subject=t, action="", views=("cam0", "cam1"), num_instants=n)
            for t, n in (("a", 5), ("b", 6))
        ),
        shards=tuple(shards),
        splits=Splits(train=train, validation=(), test=(InstantRange(take_id="a", start=4, stop=5),)),
        rejects=(),
    )


def test_a_take_is_read_without_its_neighbours(tmp_path, dataset, monkeypatch):
    folder, manifest = dataset
    everything = rows("a", 40) + rows("b", 40) + rows("c", 40)
    write_rows(folder / "shards" / "all.parquet", everything)
    shard = ShardEntry(path="shards/all.parquet", rows=120, sha256="", takes=("a", "b", "c"))
    seen = []
    real = pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda file, i: seen.append(i) or real(file, i))
    manifest = replace(manifest, shards=(shard,))
    assert list(read_take(folder, manifest, "a")) == everything[:40]
    assert list(read_take(folder, manifest, "c")) == everything[80:]
    assert seen == [0, 1, 2, 3]
    test = Splits(train=(), validation=(), test=(InstantRange(take_id="a", start=3, stop=5),))
    seen.clear()
    assert list(read_split(folder, replace(manifest, splits=test), "test")) == everything[3:5]
    assert seen == [0, 1]


def test_splits_takes_and_all(dataset):
    def keys(found):
        return [(item["take_id"], item["instant"]) for item in found]

    assert keys(read_split(*dataset, "train")) == [("a", i) for i in range(4)] + [("b", i) for i in range(1, 5)]
    assert keys(read_split(*dataset, "test")) == [("a", 4)]
    assert keys(read_split(*dataset, "validation")) == []
    assert keys(read_take(*dataset, "b")) == [("b", i) for i in range(6)]
    assert keys(read_dataset(*dataset)) == [("a", i) for i in range(5)] + [("b", i) for i in range(6)]
