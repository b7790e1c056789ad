"""Clips that are in a corpus more than once, byte for byte or encoded anew.

Of several copies one is kept: one that the dataset holds already, else the one with the smallest take id. The verdicts
depend on the set of clips alone, not on their order, and clips that come later change none on what the dataset holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

import numpy as np
from jaxtyping import Bool, UInt8, UInt64

_NUM_BANDS, _HASHES_PER_BAND = 40, 5
"""Two clips are compared if they agree on all hashes of a band; with an overlap of 0.6, 96 % do, with 0.15, 0.3 %."""
_CLIPS_AT_ONCE = 32

Fingerprints = UInt8[np.ndarray, "clips num_bytes"]


def exact_copies(contents: Mapping[str, str], held: Collection[str]) -> dict[str, str]:
    """The takes that have the content of another.

    Args:
        contents: Hash of the content by take id.
        held: Takes that the dataset holds already.

    Returns:
        By take id of a copy the take that is kept.
    """
    kept: dict[str, str] = {}
    copies: dict[str, str] = {}
    for take_id in _by_precedence(contents, held):
        original = kept.setdefault(contents[take_id], take_id)
        if original != take_id and take_id not in held:
            copies[take_id] = original
    return copies


def near_copies(movements: Mapping[str, str], held: Collection[str], *, min_overlap: float) -> dict[str, str]:
    """The takes in which the same moves as in another, in the same places at the same times.

    Clips are compared only if they share a bucket of a banded MinHash index, which holds the kept ones alone: the cost
    grows with the clips, not with their pairs, however many copies there are.

    Args:
        movements: Fingerprint (``Movement.text``) by take id; takes with an empty one are like no other.
        held: Takes that the dataset holds already.
        min_overlap: Least share (Jaccard) of equal movement.

    Returns:
        By take id of a copy the take that is kept, the first by precedence that it is like.
    """
    take_ids = [take_id for take_id in _by_precedence(movements, held) if movements[take_id]]
    if not take_ids:
        return {}
    fingerprints = np.frombuffer(bytes.fromhex("".join(movements[take_id] for take_id in take_ids)), np.uint8)
    fingerprints = fingerprints.reshape(len(take_ids), -1)
    keys = _bucket_keys(fingerprints)
    shared = _shared_by_several(keys)
    buckets: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    copies: dict[str, str] = {}
    for clip in np.flatnonzero(shared.any(axis=1)).tolist():
        places = [(band, int(keys[clip, band])) for band in np.flatnonzero(shared[clip]).tolist()]
        if take_ids[clip] not in held:
            candidates = sorted({other for place in places for other in buckets[place]})
            like = np.flatnonzero(_overlaps(fingerprints[clip], fingerprints[candidates]) >= min_overlap)
            if like.size:
                copies[take_ids[clip]] = take_ids[candidates[like[0]]]
                continue
        for place in places:
            buckets[place].append(clip)
    return copies


def _by_precedence(take_ids: Collection[str], held: Collection[str]) -> list[str]:
    return sorted(take_ids, key=lambda take_id: (take_id not in held, take_id))


def _overlaps(one: UInt8[np.ndarray, " num_bytes"], others: Fingerprints) -> np.ndarray:
    """Jaccard similarity of sets of bits."""
    return np.bitwise_count(one & others).sum(axis=1) / np.bitwise_count(one | others).sum(axis=1)


def _bucket_keys(fingerprints: Fingerprints) -> UInt64[np.ndarray, "clips bands"]:
    """A clip's bucket in each band: its smallest set bits under several shuffles (MinHash), hashed together."""
    num_bits = 8 * fingerprints.shape[1]
    num_hashes = _NUM_BANDS * _HASHES_PER_BAND
    ranks = _mixed(np.arange(num_bits * num_hashes, dtype=np.uint64)).reshape(num_bits, num_hashes)
    keys = np.zeros((len(fingerprints), _NUM_BANDS), np.uint64)
    for start in range(0, len(fingerprints), _CLIPS_AT_ONCE):
        part = slice(start, start + _CLIPS_AT_ONCE)
        clips, bits = np.nonzero(np.unpackbits(fingerprints[part], axis=1))
        smallest = np.minimum.reduceat(ranks[bits], np.searchsorted(clips, np.arange(clips[-1] + 1)), axis=0)
        for of_bands in smallest.reshape(-1, _NUM_BANDS, _HASHES_PER_BAND).transpose(2, 0, 1):
            keys[part] = _mixed(keys[part] ^ of_bands)
    return keys


def _shared_by_several(keys: UInt64[np.ndarray, "clips bands"]) -> Bool[np.ndarray, "clips bands"]:
    """Which buckets hold more than one clip: the others need no place in the index."""
    shared = np.empty(keys.shape, bool)
    for band in range(keys.shape[1]):
        _, bucket, count = np.unique(keys[:, band], return_inverse=True, return_counts=True)
        shared[:, band] = count[bucket] > 1
    return shared


def _mixed(values: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """SplitMix64: the same pseudo-random numbers wherever and whenever."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
