from dataclasses import replace

import numpy as np
import pytest
import torch

from mas_ray.config.cascade import cpu_cascade
from mas_ray.shards.manifest import read_manifest
from mas_ray.shards.read import read_dataset
from mas_ray.training.data import FrameSets, open_split


@pytest.fixture(scope="module")
def frame_sets(tiny_dataset) -> FrameSets:
    return open_split(tiny_dataset.manifest.parent, read_manifest(tiny_dataset.manifest), "train", cpu_cascade())


def _numbered(num: int) -> torch.Tensor:
    return torch.arange(num * 54.0).reshape(num, 18, 3)


def test_a_teachers_joints_come_with_their_rows(frame_sets):
    taught = frame_sets.taught(_numbered(8))
    rows = np.array([5, 0, 5])
    batch = taught.batch(rows)
    assert torch.equal(batch.teacher_mm, _numbered(8)[[5, 0, 5]])
    assert torch.equal(batch.image, frame_sets.batch(rows).image)
    assert torch.equal(batch.to(torch.device("cpu")).teacher_mm, batch.teacher_mm)
    # as a worker reads them: every second row of a global batch
    assert torch.equal(taught.batch(np.arange(8)[1::2]).teacher_mm, _numbered(8)[1::2])


def test_without_a_teacher_there_are_no_joints(frame_sets):
    frame_sets.taught(_numbered(8))
    batch = frame_sets.batch(np.arange(2))
    assert batch.teacher_mm is None
    assert batch.to(torch.device("cpu")).teacher_mm is None


def test_who_teaches_again_replaces_the_teacher(frame_sets):
    twice = frame_sets.taught(_numbered(8)).taught(-_numbered(8))
    assert torch.equal(twice.batch(np.arange(8)).teacher_mm, -_numbered(8))


def test_poses_must_be_as_many_as_rows(frame_sets):
    with pytest.raises(ValueError, match="teacher_mm: expected 8 poses, one per frame set, got 7"):
        frame_sets.taught(_numbered(7))


def test_takes_are_whole_and_in_the_order_of_time(tiny_dataset):
    manifest = read_manifest(tiny_dataset.manifest)
    rows = list(read_dataset(tiny_dataset.manifest.parent, manifest))
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = [rows[row] for row in order]
    takes = FrameSets(shuffled, manifest.view_slots, cpu_cascade()).takes()
    assert sorted(np.concatenate(takes).tolist()) == list(range(24))
    found = {shuffled[take[0]]["take_id"]: [shuffled[row]["instant"] for row in take] for take in takes}
    assert found == {subject: list(range(8)) for subject in ("s00", "s01", "s02")}
    for take in takes:
        assert len({shuffled[row]["take_id"] for row in take}) == 1


def test_the_cascade_decides_how_rows_are_read(tiny_dataset):
    large = replace(cpu_cascade(), mask_size=128)
    manifest = read_manifest(tiny_dataset.manifest)
    batch = open_split(tiny_dataset.manifest.parent, manifest, "validation", large).batch(np.arange(1))
    assert batch.mask.shape == (1, 4, 128, 128)
