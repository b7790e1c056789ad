import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mas_ray.shards.images import decode_image
from mas_ray.shards.reject_samples import (
    THUMBNAIL_PX,
    RejectSample,
    RejectSampler,
    choose_samples,
    read_reject_samples,
    thumbnail,
    write_reject_samples,
)

IMAGE = np.full((300, 400, 3), 30, np.uint8)
MASK = np.zeros((300, 400), bool)
MASK[100:200, 100:200] = True


def _samples(order, take_id="take", per_reason=3):
    sampler = RejectSampler(take_id, per_reason=per_reason)
    for instant in order:
        sampler.add("blurred" if instant % 2 else "empty", IMAGE, instant=instant, view="cam")
    return sampler.samples()


def test_round_trip(tmp_path):
    samples = [*_samples(range(4)), RejectSample(take_id="b", reason="static", thumbnail=thumbnail(IMAGE))]
    path = tmp_path / "new" / "rejected.parquet"
    write_reject_samples(path, samples)
    assert list(read_reject_samples(path)) == samples
    assert [item.name for item in path.parent.iterdir()] == ["rejected.parquet"]
    first = path.read_bytes()
    write_reject_samples(path, samples)
    assert path.read_bytes() == first


def test_no_samples_and_no_file(tmp_path):
    assert list(read_reject_samples(tmp_path / "none")) == []
    write_reject_samples(tmp_path / "empty", [])
    assert list(read_reject_samples(tmp_path / "empty")) == []


def test_a_foreign_file_is_named(tmp_path):
    path = tmp_path / "rejected.parquet"
    path.write_text("nonsense")
    with pytest.raises(ValueError, match=r"rejected\.parquet: not a readable file"):
        list(read_reject_samples(path))
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(ValueError, match=r"rejected\.parquet: columns differ"):
        list(read_reject_samples(path))


def test_a_few_per_reason_whatever_the_order():
    samples = _samples(range(60))
    assert [sample.reason for sample in samples] == ["blurred"] * 3 + ["empty"] * 3
    assert _samples(reversed(range(60))) == samples
    instants = sorted(sample.instant for sample in samples)
    assert instants != list(range(instants[0], instants[0] + 6))  # no neighbours


def test_thumbnails_are_made_only_of_what_is_kept(monkeypatch):
    made = []
    monkeypatch.setattr("mas_ray.shards.reject_samples.thumbnail", lambda *_: made.append(1) or b"")
    _samples(range(0, 2000, 2))
    assert len(made) < 60


def test_choosing_among_takes_does_not_depend_on_their_order():
    everything = [sample for take in "abcdef" for sample in _samples(range(10), take)]
    chosen = choose_samples(everything, per_reason=4)
    assert [sample.reason for sample in chosen] == ["blurred"] * 4 + ["empty"] * 4
    assert choose_samples(everything[::-1], per_reason=4) == chosen
    assert len({sample.take_id for sample in chosen}) > 1


def test_thumbnails_are_small_and_outlined():
    plain, outlined = decode_image(thumbnail(IMAGE)), decode_image(thumbnail(IMAGE, MASK))
    assert plain.shape == (THUMBNAIL_PX * 3 // 4, THUMBNAIL_PX, 3)
    assert plain.max() < 40
    rows, columns = np.nonzero(outlined[..., 0] > 150)
    scale = THUMBNAIL_PX / 400
    assert rows.min() == pytest.approx(100 * scale, abs=2)
    assert columns.max() == pytest.approx(200 * scale, abs=2)
    assert thumbnail(IMAGE[:50, :60]) == thumbnail(IMAGE[:50, :60].copy())
    assert decode_image(thumbnail(IMAGE[:50, :60])).shape == (50, 60, 3)  # never enlarged
