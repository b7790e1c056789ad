from __future__ import annotations

from pathlib import Path

import pytest

from mas_ray.assets import AssetUnavailableError
from mas_ray.cli import sample
from mas_ray.corpora import balancing
from mas_ray.corpora.synthetic import recording
from mas_ray.corpora.synthetic.config import SyntheticConfig


def test_balancing_goes_where_it_is_told(monkeypatch, tmp_path: Path, capsys) -> None:
    written: list[Path] = []
    monkeypatch.setattr(balancing, "write_balancing", written.append)
    assert sample.run(["balancing", "--output", str(tmp_path / "here")]) == 0
    assert written == [tmp_path / "here"]
    assert f"mas-ray ingest --root {tmp_path / 'here'} " in capsys.readouterr().out


def test_synthetic_reports_progress_off_standard_output(monkeypatch, capsys) -> None:
    def write_corpus(root: Path, config: SyntheticConfig, *, progress) -> None:
        assert (root, config) == (Path("samples/synthetic"), SyntheticConfig())
        progress(1, 2)

    monkeypatch.setattr(recording, "write_corpus", write_corpus)
    assert sample.run(["synthetic"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "corpus    samples/synthetic"


def test_what_cannot_be_fetched_is_an_oserror_for_the_dispatcher(monkeypatch) -> None:
    def fail(_: Path) -> None:
        raise AssetUnavailableError("balancing-videos: pip cannot download")

    monkeypatch.setattr(balancing, "write_balancing", fail)
    with pytest.raises(OSError, match="balancing-videos"):
        sample.run(["balancing"])
