from dataclasses import replace

import pytest

from mas_ray.config.ingest import NoSplit, SplitByShare, SplitBySubject, SplitByTail
from mas_ray.shards.manifest import InstantRange, read_manifest
from mas_ray.shards.splits import SplitSizes, plan_splits, split_sizes

SUBJECTS = {"a1": "anna", "a2": "anna", "b": "bert", "c": "cora"}
INSTANTS = {take_id: tuple(range(0, 20, 2)) for take_id in SUBJECTS}


def names(ranges):
    return [item.take_id for item in ranges]


def test_no_split_trains_on_everything():
    splits = plan_splits(NoSplit(), INSTANTS, SUBJECTS)
    assert splits.train == tuple(InstantRange(take_id=t, start=0, stop=19) for t in SUBJECTS)
    assert splits.validation == splits.test == ()


def test_subjects_are_held_out_whole():
    splits = plan_splits(SplitBySubject(validation=("bert",), test=("anna",)), INSTANTS, SUBJECTS)
    assert (names(splits.train), names(splits.validation), names(splits.test)) == (["c"], ["b"], ["a1", "a2"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (SplitBySubject(validation=(), test=("dora",)), "unknown subject 'dora'; the dataset has anna, bert, cora"),
        (SplitBySubject(validation=("bert",), test=("bert",)), "'bert' is both in validation and in test"),
        (SplitBySubject(validation=("anna",), test=("bert", "cora")), "no subject is left to train"),
        (SplitByTail(test=5, gap=3, validation=2), "no take has more instants than .* take; the longest has 10"),
        (SplitByShare(validation=0.0, test=0.99999), "no subject of 3 is left to train"),
        (SplitByTail(test=-1), "must not be negative"),
    ],
)
def test_errors(config, message):
    with pytest.raises(ValueError, match=message) as error:
        plan_splits(config, INSTANTS, SUBJECTS)
    assert "\n" not in str(error.value)


def test_tail_counts_instants_that_are_there():
    """Instants 6 and 8 were rejected; the test split is the last three that remain, whatever their numbers."""
    held = (0, 2, 4, 10, 12, 14, 16, 18)
    splits = plan_splits(SplitByTail(test=3, gap=1, validation=2), {"a": held}, {"a": "anna"})
    chosen = {
        name: [i for item in splits.ranges(name) for i in held if item.start <= i < item.stop]
        for name in ("train", "validation", "test")
    }
    assert chosen == {"train": [0, 2], "validation": [4, 10], "test": [14, 16, 18]}


def test_a_take_too_short_for_a_tail_trains_as_a_whole():
    instants = INSTANTS | {"b": (4, 6)}
    splits = plan_splits(SplitByTail(test=5, gap=2, validation=2), instants, SUBJECTS)
    assert InstantRange(take_id="b", start=4, stop=7) in splits.train
    assert names(splits.test) == names(splits.validation) == ["a1", "a2", "c"]


def test_shares_hold_out_subjects_whole_and_a_corpus_that_grows_moves_nobody():
    subjects = {f"t{i}": f"s{i // 2}" for i in range(2000)}
    split = SplitByShare(validation=0.1, test=0.2)
    whole = plan_splits(split, {take_id: (0,) for take_id in subjects}, subjects)
    assert abs(len(whole.test) / 2000 - 0.2) < 0.04
    assert abs(len(whole.validation) / 2000 - 0.1) < 0.04
    assert sorted(names(whole.train + whole.validation + whole.test)) == sorted(subjects)
    for ranges in (whole.train, whole.validation, whole.test):
        held = names(ranges)
        assert all(f"t{int(take_id[1:]) ^ 1}" in held for take_id in held)
    part = plan_splits(split, {f"t{i}": (0,) for i in range(300)}, subjects)
    assert set(part.test) < set(whole.test)
    assert set(part.validation) < set(whole.validation)
    other = plan_splits(SplitByShare(validation=0.1, test=0.2, seed=1), {t: (0,) for t in subjects}, subjects)
    assert set(other.test) != set(whole.test)


@pytest.mark.parametrize("shares", [(-0.1, 0.1), (0.5, 0.5)])
def test_shares_leave_something(shares):
    with pytest.raises(ValueError, match="at least 0 and together less than 1"):
        SplitByShare(validation=shares[0], test=shares[1])


def test_tail_parts_of_length_zero_have_no_range():
    splits = plan_splits(SplitByTail(test=0, gap=0, validation=0), {"a": (3, 4)}, {"a": "anna"})
    assert splits.train == (InstantRange(take_id="a", start=3, stop=5),)
    assert splits.validation == splits.test == ()


@pytest.mark.parametrize(
    "config",
    [
        NoSplit(),
        SplitBySubject(validation=("bert",), test=("anna",)),
        SplitByTail(test=3, gap=2, validation=4),
        SplitByTail(test=0, gap=6, validation=0),
        SplitByTail(test=0, gap=0, validation=0),
    ],
)
def test_sizes_are_those_of_the_ranges(config, tiny_dataset):
    """As the manifest alone tells them, against a count of the instants that lie within the ranges."""
    lengths = {"a1": 10, "a2": 10, "b": 8, "c": 2}
    instants = {take_id: tuple(range(5, 5 + 2 * length, 2)) for take_id, length in lengths.items()}
    splits = plan_splits(config, instants, SUBJECTS)
    manifest = read_manifest(tiny_dataset.manifest)
    takes = tuple(replace(manifest.takes[0], take_id=take_id, num_instants=num) for take_id, num in lengths.items())
    found = split_sizes(replace(manifest, splits=splits, split_config=config, takes=takes))
    counted = {
        name: sum(item.start <= i < item.stop for item in splits.ranges(name) for i in instants[item.take_id])
        for name in ("train", "validation", "test")
    }
    assert {name: getattr(found, name) for name in counted} == counted
    assert found.unused == sum(lengths.values()) - sum(counted.values())


def test_little_to_train_on_is_told():
    told = SplitSizes(train=28, validation=32, test=100, unused=40)
    assert str(told) == "instants: 28 train, 32 validate, 100 test, 40 in the gap between them"
    assert told.warning is not None
    assert "only 14% of the instants train" in told.warning
    assert SplitSizes(train=40, validation=32, test=100, unused=28).warning is None
