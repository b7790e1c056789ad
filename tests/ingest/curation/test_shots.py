import numpy as np
import pytest
from moving_scene import brighter, room, scene

from mas_ray.config.ingest import CurationConfig
from mas_ray.ingest.curation.shots import ShotFinder


def _shots(frames, *, stride=1):
    finder = ShotFinder(CurationConfig())
    for i, frame in enumerate(frames):
        finder.add(i * stride, frame)
    return finder.shots()


A, B = scene(40, background=1), scene(40, background=2)


@pytest.mark.parametrize(("before", "after"), [(20, 20), (3, 20), (20, 2), (1, 20), (20, 1)])
def test_a_cut_is_found_wherever_it_is(before, after):
    assert _shots(A[:before] + B[:after]) == [range(before), range(before, before + after)]


def test_many_cuts_in_sequence():
    rooms = [scene(10, background=seed) for seed in (1, 2, 3, 4)]
    assert [shot.start for shot in _shots([f for r in rooms for f in r])] == [0, 10, 20, 30]


def test_frame_numbers_are_the_sources():
    assert _shots(A[:10] + B[:10], stride=3) == [range(30), range(30, 58)]


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("flash", [lambda f: brighter(f, 140), lambda f: f * 0 + 255, lambda f: f * 0], ids=str)
def test_a_flash_is_no_cut(length, flash):
    frames = A[:15] + [flash(frame) for frame in A[15 : 15 + length]] + A[15 + length :]
    assert _shots(frames) == [range(40)]


def test_a_light_that_stays_on_is_no_cut():
    slow = scene(200, background=1)[:40]
    assert _shots(slow[:20] + [brighter(frame, 60) for frame in slow[20:]]) == [range(40)]


@pytest.mark.parametrize("length", [8, 15])
def test_a_fade_is_no_cut(length):
    levels = np.concatenate([np.ones(5), np.linspace(1, 0, length), np.linspace(0, 1, length), np.ones(5)])
    frames = [(frame * level).astype(np.uint8) for frame, level in zip(A, levels, strict=False)]
    assert len(_shots(frames)) == 1


def test_a_dissolve_is_no_cut():
    shares = np.clip((np.arange(40) - 10) / 20, 0, 1)
    frames = [((1 - s) * a + s * b).astype(np.uint8) for a, b, s in zip(A, B, shares, strict=True)]
    assert len(_shots(frames)) == 1


@pytest.mark.parametrize("speed_px", [3, 12, 30])
def test_a_pan_is_no_cut(speed_px):
    wide = room(5, width=1600)
    frames = [wide[:, i * speed_px : i * speed_px + 160].copy() for i in range(40)]
    assert len(_shots(frames)) == 1


def test_strobing_is_no_cut():
    assert len(_shots([brighter(frame, 90) if i % 2 else frame for i, frame in enumerate(A)])) == 1


def test_nothing_seen_gives_no_shot():
    assert _shots([]) == []
    assert _shots(A[:1]) == [range(1)]
