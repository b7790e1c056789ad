from __future__ import annotations

import json

import pytest
from made_up_sweep import sweep_job, write_trial

from mas_ray.cli.show import run
from mas_ray.config import codec
from mas_ray.pipelines import show as pipeline
from mas_ray.pipelines.show import ClipRow, DatasetSummary, Histogram
from mas_ray.shards.manifest import RejectCount
from mas_ray.shards.splits import SplitSizes

HISTOGRAM = Histogram(edges=(0.0, 10.0, 20.0), counts=(3, 1))


@pytest.fixture(autouse=True)
def calls(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manifest.json").touch()
    summary = DatasetSummary(
        corpus="folder",
        takes_accepted=2,
        takes_rejected=1,
        instants=1234,
        views=4321,
        hours=2.5,
        shards=5,
        splits=SplitSizes(train=100, validation=500, test=600, unused=34),
        rejects=(
            RejectCount(reason="blurred", level="view", count=7),
            RejectCount(reason="static", level="take", count=1),
        ),
        clips=(
            ClipRow(take_id="dull [b]", frames=0, kept=0, reason="static"),
            ClipRow(take_id="soft", frames=40, kept=30, reason="blurred"),
            ClipRow(take_id="fine", frames=9, kept=9, reason=""),
        ),
        sampled_every=3,
        mask_height_px=HISTOGRAM,
        mask_area_px=HISTOGRAM,
        column_px=HISTOGRAM,
        row_px=Histogram(edges=(), counts=()),
    )
    seen = []
    monkeypatch.setattr(
        pipeline, "summarise", lambda dataset, *, sample: seen.append((dataset.name, sample)) or summary
    )
    monkeypatch.setattr(
        pipeline, "write_contact_sheet", lambda dataset, output, *, num: seen.append((output.name, num))
    )
    return seen


def test_text(calls, capsys):
    assert run(["data", "--sample", "50", "--limit", "2"]) == 0
    out = capsys.readouterr().out
    assert calls == [("data", 50)]
    assert "2 takes kept, 1 left out" in out
    assert "1,234 instants, 4,321 views, 2.5 hours of source time, 5 shards" in out
    assert "instants: 100 train, 500 validate, 600 test, 34 in the gap between them\nonly 8% of the instants" in out
    assert out.index("dull [b]") < out.index("soft")
    assert "fine" not in out
    assert "and 1 more (--limit)" in out
    assert "every 3th instant" not in out
    assert "one instant in 3" in out


def test_one_reason(capsys):
    assert run(["data", "--reason", "blurred"]) == 0
    out = capsys.readouterr().out
    assert "soft" in out
    assert "dull" not in out


def test_json_alone_on_standard_output(calls, capsys):
    assert run(["data", "--json", "--contact-sheet", "sheet.html", "--pictures", "9"]) == 0
    captured = capsys.readouterr()
    assert [clip["take_id"] for clip in json.loads(captured.out)["clips"]] == ["dull [b]", "soft", "fine"]
    assert "wrote sheet.html" in captured.err
    assert calls[-1] == ("sheet.html", 9)


def test_wrong_flags():
    with pytest.raises(ValueError, match=r"^--limit: expected at least 1, got 0"):
        run(["data", "--limit", "0"])


def test_a_folder_of_nothing_that_we_know(tmp_path):
    with pytest.raises(ValueError, match=r"^runs/typo: no dataset \(manifest.json\), run .* or sweep .* here$"):
        run(["runs/typo"])


def test_a_sweep_for_programs(tmp_path, capsys):
    job = sweep_job(tmp_path)
    for number, scores in enumerate(([0.5, 0.4], [0.3, 0.2])):
        write_trial(job, number, 1.0, scores)
    (tmp_path / "sweep" / "sweep.json").write_text(codec.dumps(job))
    assert run([str(tmp_path / "sweep"), "--json"]) == 0
    assert [(trial["trial"], trial["score"]) for trial in json.loads(capsys.readouterr().out)] == [(1, 0.2), (0, 0.4)]
