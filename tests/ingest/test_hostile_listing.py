"""What listing alone makes of the hostile corpus: it opens no video, misses nothing and stops at nothing."""

from __future__ import annotations

import builtins
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hostile_clips import HostileClip, growing, hostile_clips, write_hostile_clips

from mas_ray.corpora.folder import sources
from mas_ray.corpora.layout import RejectedSource
from mas_ray.corpora.take import Take


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus with squares for people, which are drawn at once: listing does not look at them."""
    folder = tmp_path_factory.mktemp("hostile") / "corpus"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hostile_clips._person", _square)
        write_hostile_clips(folder)
    return folder


def _square(number: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    images = [np.full((176, 160, 3), number, np.uint8) for _ in range(16)]
    for i, image in enumerate(images):
        image[40:120, 30 + 3 * i : 70 + 3 * i] = 255
    return images, [image // 255 * 255 for image in images]


def _clip_of(source: Take | RejectedSource, root: Path) -> HostileClip:
    """The kind that a source is of, by its path."""
    if isinstance(source, RejectedSource):
        (clip,) = [clip for clip in hostile_clips() if source.detail.startswith(f"{clip.name}: ")]
        return clip
    video = source.clips[0].video.removeprefix(f"{root}/")
    (clip,) = [clip for clip in hostile_clips() if video in (clip.name, f"{clip.name}/videos/cam.mp4")]
    return clip


def test_there_are_at_least_40_bad_kinds_each_written_once():
    clips = hostile_clips()
    assert sum(clip.outcome != "accepted" for clip in clips) >= 40
    assert len({clip.kind for clip in clips}) == len({clip.name for clip in clips}) == len(clips)
    assert all((clip.outcome == "accepted") == (clip.decided_by == "none") for clip in clips)


def test_the_corpus_is_small(root: Path):
    assert sum(path.lstat().st_size for path in root.rglob("*")) < 20e6


def test_every_clip_is_listed_or_rejected_as_expected(root: Path):
    found = [(_clip_of(source, root), source) for source in sources(root)]
    listed = Counter(clip.name for clip, _ in found)
    assert listed == Counter(clip.name for clip in hostile_clips() if clip.outcome != "not_listed")
    for clip, source in found:
        expected = clip.outcome if clip.decided_by == "listing" else None
        assert getattr(source, "reason", None) == expected, clip.kind


def test_ids_are_unique_safe_and_do_not_depend_on_the_other_clips(root: Path, tmp_path: Path):
    ids = [source.take_id for source in sources(root)]
    assert max(Counter(id_.lower() for id_ in ids).values()) == 1
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}", id_) for id_ in ids)
    assert ids == sorted(ids)
    for source in sources(root):
        if isinstance(source, Take) and source.take_id.startswith(("a_", "caf", "x", "_")):
            name = Path(source.clips[0].video).relative_to(root)
            (tmp_path / source.take_id / name).parent.mkdir(parents=True)
            (tmp_path / source.take_id / name).touch()
            (alone,) = sources(tmp_path / source.take_id)
            assert alone.take_id == source.take_id


def test_what_is_said_of_rejects_is_a_line_of_text_without_the_place_of_the_corpus(root: Path):
    for source in sources(root):
        said = source.detail if isinstance(source, RejectedSource) else f"{source.subject} {source.clips[0].view}"
        assert said.isprintable()
        assert str(root.parent) not in said
        said.encode()


def test_listing_opens_nothing(root: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(path, *args, **kwargs):
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr(builtins, "open", fail)
    monkeypatch.setattr(os, "open", fail)
    monkeypatch.setattr(Path, "open", fail)
    assert list(sources(root))


def test_a_growing_clip_grows(tmp_path: Path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"1")
    sizes = set[int]()
    with growing(path):
        while len(sizes) < 3:
            sizes.add(path.stat().st_size)
    grown = path.stat().st_size
    assert grown == path.stat().st_size >= max(sizes)
