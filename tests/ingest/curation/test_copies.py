import tracemalloc

import numpy as np
import pytest
from moving_scene import brighter, scene

from mas_ray.config.ingest import CurationConfig
from mas_ray.ingest.curation.copies import exact_copies, near_copies
from mas_ray.ingest.curation.movement import Movement, sampled_frames

MIN_OVERLAP = CurationConfig().min_overlap


def _fingerprint(frames):
    movement = Movement(sampled_frames(len(frames)))
    for i, frame in enumerate(frames):
        movement.add(i, frame)
    return movement.text()


def _noisy(frames):
    rng = np.random.default_rng(0)
    return [np.clip(f + rng.normal(scale=4, size=f.shape), 0, 255).astype(np.uint8) for f in frames]


def _near(fingerprints, held=()):
    return near_copies(fingerprints, held, min_overlap=MIN_OVERLAP)


def test_exact_copies_keep_the_smallest_id_or_the_one_held():
    contents = {"c": "x", "a": "x", "b": "x", "d": "y"}
    assert exact_copies(contents, ()) == {"b": "a", "c": "a"}
    assert exact_copies(contents, {"c", "d"}) == {"a": "c", "b": "c"}


@pytest.mark.parametrize(
    "changed",
    [
        _noisy,
        lambda f: f[::2],
        lambda f: f[1:-1],
        lambda f: [brighter(x, 20) for x in f],
        lambda f: [x[2:-2, 2:-2] for x in f],
    ],
    ids=["noise", "half the rate", "trimmed", "brighter", "cropped"],
)
def test_copies_are_known_by_what_moves(changed):
    frames = scene(96)
    assert _near({"a": _fingerprint(frames), "b": _fingerprint(changed(frames))}) == {"b": "a"}


def test_other_performances_before_the_same_background_are_no_copies():
    assert _near({f"{seed}": _fingerprint(scene(96, seed=seed)) for seed in range(30)}) == {}


def test_what_stands_still_has_no_fingerprint_and_is_like_nothing():
    still = [*_noisy(scene(1) * 50)]
    assert _fingerprint(still) == ""
    assert _fingerprint([]) == ""
    assert _near({"a": "", "b": ""}) == {}


def _random_fingerprints(num, seed=0):
    rng = np.random.default_rng(seed)
    return np.packbits(rng.random((num, 2304)) < 0.08, axis=1)


def _changed(fingerprint, share, seed):
    """The same with a share of its set bits moved elsewhere."""
    rng = np.random.default_rng(seed)
    bits = np.unpackbits(fingerprint)
    gone = rng.permutation(np.flatnonzero(bits))[: round(share * bits.sum())]
    bits[gone] = 0
    bits[rng.choice(np.flatnonzero(bits == 0), gone.size, replace=False)] = 1
    return np.packbits(bits)


@pytest.fixture(scope="module")
def crowd():
    """A thousand clips, of which every tenth is a copy of the one before."""
    fingerprints = _random_fingerprints(1000)
    for i in range(9, 1000, 10):
        fingerprints[i] = _changed(fingerprints[i - 1], 0.15, i)
    return {f"{i:04d}": fingerprint.tobytes().hex() for i, fingerprint in enumerate(fingerprints)}


def test_many_clips(crowd):
    assert _near(crowd) == {f"{i:04d}": f"{i - 1:04d}" for i in range(9, 1000, 10)}


def test_the_order_of_arrival_does_not_matter(crowd):
    shuffled = np.random.default_rng(0).permutation(list(crowd)).tolist()
    assert _near({take_id: crowd[take_id] for take_id in shuffled}) == _near(crowd)


def test_clips_that_come_later_change_nothing(crowd):
    """Half of the clips came first; what was kept of them is held, what was not is as it was."""
    early = {take_id: crowd[take_id] for take_id in sorted(crowd)[1::2]}
    first = _near(early)
    held = early.keys() - first.keys()
    later = _near(crowd, held)
    assert not held & later.keys()
    assert {take_id: later[take_id] for take_id in first} == first
    assert later["0008"] == "0009"  # the copy that came first stays, whatever its name
    assert _near(crowd, crowd.keys() - later.keys()) == later


def test_chains_keep_what_is_unlike_the_kept():
    """b is like a and like c, which are unlike each other: b alone goes."""
    a = _random_fingerprints(1)[0]
    b, c = _changed(a, 0.2, 1), _changed(_changed(a, 0.2, 1), 0.28, 2)
    clips = {name: bits.tobytes().hex() for name, bits in (("a", a), ("b", b), ("c", c))}
    assert _near(clips) == {"b": "a"}


def test_many_copies_of_one_are_cheap():
    same = _random_fingerprints(1)[0].tobytes().hex()
    assert len(_near({f"{i:04d}": same for i in range(3000)})) == 2999


def test_memory_does_not_grow_with_how_much_moves():
    lively = {f"{i:04d}": bits.tobytes().hex() for i, bits in enumerate(_random_fingerprints(512))}
    tracemalloc.start()
    try:
        _near(lively)
        assert tracemalloc.get_traced_memory()[1] < 32e6
    finally:
        tracemalloc.stop()
