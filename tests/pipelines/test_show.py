from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mas_ray.pipelines.show import summarise, write_contact_sheet
from mas_ray.shards.reject_samples import RejectSample, thumbnail, write_reject_samples


@pytest.fixture
def dataset(tiny_dataset, tmp_path) -> Path:
    folder = tmp_path / "dataset"
    shutil.copytree(tiny_dataset.manifest.parent, folder)
    rejects = [
        {"take_id": "s00", "reason": "blurred", "instant": 8, "view": "v"},
        {"take_id": "s00", "reason": "no_views", "instant": 8, "view": None},
        *({"take_id": "s01", "reason": "too_small", "instant": 8 + i, "view": "v"} for i in range(3)),
        *({"take_id": "s01", "reason": "blurred", "instant": 8 + i, "view": "w"} for i in range(2)),
        *({"take_id": "s01", "reason": "no_views", "instant": 8 + i, "view": None} for i in range(8)),
        {"take_id": "bad", "reason": "unreadable_video", "instant": None, "view": None},
    ]
    (folder / "rejects.jsonl").write_text("".join(json.dumps(reject) + "\n" for reject in rejects))
    return folder


def test_takes_from_the_worst_to_the_best(dataset):
    found = [(clip.take_id, clip.frames, clip.kept, clip.reason) for clip in summarise(dataset, sample=100).clips]
    assert found == [
        ("bad", 0, 0, "unreadable_video"),
        ("s01", 16, 8, "too_small"),
        ("s00", 9, 8, "blurred"),
        ("s02", 8, 8, ""),
    ]


def test_figures(dataset):
    summary = summarise(dataset / "manifest.json", sample=100)
    assert (summary.takes_accepted, summary.takes_rejected) == (3, 1)
    assert (summary.instants, summary.views, summary.shards) == (24, 96, 3)
    assert summary.hours == pytest.approx(3 * 8 / 4 / 3600)
    assert summary.sampled_every == 1
    assert sum(summary.mask_height_px.counts) == 96
    assert 0 < summary.column_px.edges[0] < summary.column_px.edges[-1] < 128
    assert 0 < summary.row_px.edges[0] < summary.row_px.edges[-1] < 128
    assert 30 < summary.mask_height_px.edges[-1] <= 128


def test_a_sample_is_a_fixed_stride_over_all_shards(dataset):
    summary = summarise(dataset, sample=5)
    assert summary.sampled_every == 5
    assert sum(summary.mask_area_px.counts) == 4 * 5
    assert summary == summarise(dataset, sample=5)


def test_what_is_damaged_is_named(dataset):
    (dataset / "rejects.jsonl").write_text('{"take_id": "a"}\n')
    with pytest.raises(ValueError, match=r"rejects\.jsonl: line 1: expected a reject"):
        summarise(dataset, sample=5)
    (dataset / "rejects.jsonl").unlink()
    next((dataset / "shards").iterdir()).write_text("nonsense")
    with pytest.raises(ValueError, match=r"part-\d+\.parquet: not a readable shard"):
        summarise(dataset, sample=5)
    with pytest.raises(ValueError, match="no such manifest"):
        summarise(dataset / "shards", sample=5)


@pytest.mark.parametrize(("num", "expected"), [(5, 5), (24, 24), (100, 24)])
def test_the_contact_sheet_shows_the_shards_and_the_samples(dataset, tmp_path, num, expected):
    picture = thumbnail(np.zeros((40, 40, 3), np.uint8))
    rejected = [RejectSample(take_id="s00", reason="blurred", thumbnail=picture, instant=i) for i in range(50)]
    write_reject_samples(dataset / "rejected.parquet", rejected)
    write_contact_sheet(dataset, tmp_path / "new" / "sheet.html", num=num)
    page = (tmp_path / "new" / "sheet.html").read_text()
    assert page.count('alt="accepted: ') == expected
    assert page.count('alt="rejected: ') == min(num, 50)
    assert all(f'alt="accepted: {take_id} ' in page for take_id in ("s00", "s01", "s02"))


def test_neither_torch_nor_ray_is_loaded(dataset):
    code = (
        "import sys; from pathlib import Path; from mas_ray.cli.main import main\n"
        f"status = main(['show', {str(dataset)!r}, '--contact-sheet', {str(dataset / 'sheet.html')!r}])\n"
        "assert not {'torch', 'ray', 'mlflow'} & set(sys.modules); sys.exit(status)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
