"""Which instants train, validate and test: a pure function of the split's configuration."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from mas_ray.config.ingest import NoSplit, SplitByShare, SplitBySubject, SplitByTail, SplitConfig
from mas_ray.shards.manifest import InstantRange, Manifest, Splits

_LEAST_TRAIN_SHARE = 0.2


def plan_splits(config: SplitConfig, instants: Mapping[str, Sequence[int]], subjects: Mapping[str, str]) -> Splits:
    """Assign the instants of every take.

    Args:
        config: How to split. ``SplitByTail`` counts instants that the dataset holds, not frames of the video.
        instants: Per take, in order, the instants that the dataset holds (at least one).
        subjects: Per take, its subject.

    Raises:
        ValueError: A subject is not in the corpus or named twice, nobody is left to train, or all takes are too short.
    """
    match config:
        case NoSplit():
            return Splits(train=tuple(_whole(take_id, instants) for take_id in instants), validation=(), test=())
        case SplitBySubject():
            return _by_subject(config, instants, subjects)
        case SplitByShare():
            return _by_share(config, instants, subjects)
        case SplitByTail():
            return _by_tail(config, instants)
        case _:
            assert_never(config)


@dataclass(frozen=True, kw_only=True)
class SplitSizes:
    """Instants by what they are for."""

    train: int
    validation: int
    test: int
    unused: int
    """In the gap of a ``SplitByTail``."""

    def __str__(self) -> str:
        unused = f", {self.unused:,} in the gap between them" if self.unused else ""
        return f"instants: {self.train:,} train, {self.validation:,} validate, {self.test:,} test{unused}"

    @property
    def warning(self) -> str | None:
        """What to do if most of a dataset is not there to be learned from; None if enough is."""
        total = self.train + self.validation + self.test + self.unused
        if self.train >= _LEAST_TRAIN_SHARE * total:
            return None
        return (
            f"only {self.train / total:.0%} of the instants train; the job's `split` says what is held out "
            "(SplitByTail counts instants of every take), and --split share holds out subjects"
        )


def split_sizes(manifest: Manifest) -> SplitSizes:
    """How many instants each split has, from the manifest alone."""
    sizes: Counter[str] = Counter()
    named = {item.take_id: name for name in ("validation", "test") for item in manifest.splits.ranges(name)}
    config = manifest.split_config
    for take in manifest.takes:
        if not isinstance(config, SplitByTail):
            sizes[named.get(take.take_id, "train")] += take.num_instants
        elif (num_train := take.num_instants - config.validation - config.gap - config.test) > 0:
            sizes.update(train=num_train, validation=config.validation, unused=config.gap, test=config.test)
        else:
            sizes["train"] += take.num_instants
    return SplitSizes(train=sizes["train"], validation=sizes["validation"], test=sizes["test"], unused=sizes["unused"])


def _whole(take_id: str, instants: Mapping[str, Sequence[int]]) -> InstantRange:
    return InstantRange(take_id=take_id, start=instants[take_id][0], stop=instants[take_id][-1] + 1)


def _by_subject(config: SplitBySubject, instants: Mapping[str, Sequence[int]], subjects: Mapping[str, str]) -> Splits:
    known = {subjects[take_id] for take_id in instants}
    held_out = (*config.validation, *config.test)
    for subject in held_out:
        if subject not in known:
            raise ValueError(f"split: unknown subject {subject!r}; the dataset has {', '.join(sorted(known))}")
    if twice := set(config.validation) & set(config.test):
        raise ValueError(f"split: subject {min(twice)!r} is both in validation and in test")
    if known == set(held_out):
        raise ValueError(f"split: no subject is left to train; the dataset has {', '.join(sorted(known))}")
    validation, test = set(config.validation), set(config.test)
    return Splits(
        train=tuple(_whole(t, instants) for t in instants if subjects[t] not in validation | test),
        validation=tuple(_whole(t, instants) for t in instants if subjects[t] in validation),
        test=tuple(_whole(t, instants) for t in instants if subjects[t] in test),
    )


def _by_share(config: SplitByShare, instants: Mapping[str, Sequence[int]], subjects: Mapping[str, str]) -> Splits:
    places = {subject: _place(f"{config.seed} {subject}") for subject in {subjects[take_id] for take_id in instants}}
    test = {subject for subject, place in places.items() if place < config.test}
    validation = {subject for subject, place in places.items() if place < config.test + config.validation} - test
    if len(test | validation) == len(places):
        raise ValueError(f"split: no subject of {len(places)} is left to train; choose smaller shares or another seed")
    return Splits(
        train=tuple(_whole(t, instants) for t in instants if subjects[t] not in validation | test),
        validation=tuple(_whole(t, instants) for t in instants if subjects[t] in validation),
        test=tuple(_whole(t, instants) for t in instants if subjects[t] in test),
    )


def _place(name: str) -> float:
    """A number below 1 that looks like chance and is always the same."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64


def _by_tail(config: SplitByTail, instants: Mapping[str, Sequence[int]]) -> Splits:
    lengths = (config.validation, config.gap, config.test)
    if min(lengths) < 0:
        raise ValueError(f"split: validation, gap and test must not be negative, got {lengths}")
    train, validation, test = [], [], []
    if max(map(len, instants.values())) <= sum(lengths):
        raise ValueError(
            f"split: no take has more instants than validation {config.validation}, gap {config.gap} and test "
            f"{config.test} take; the longest has {max(map(len, instants.values()))}"
        )
    for take_id, held in instants.items():
        num_train = len(held) - sum(lengths)
        if num_train < 1:
            train.append(_whole(take_id, instants))
            continue
        bounds = [*held, held[-1] + 1]
        gap = num_train + config.validation
        cuts = ((train, 0, num_train), (validation, num_train, gap), (test, gap + config.gap, len(held)))
        for ranges, start, stop in cuts:
            if start < stop:
                ranges.append(InstantRange(take_id=take_id, start=bounds[start], stop=bounds[stop]))
    return Splits(train=tuple(train), validation=tuple(validation), test=tuple(test))
