"""Frames in, poses out: the same numbers as from a dataset, nobody where nobody is, and clear words for wrong input."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from fresh_checkpoint import save_fresh
from moving_square import figure_mask, picture, write_video

from mas_ray.config.ingest import MotionMasks
from mas_ray.inference import FrameSetEstimator
from mas_ray.pipelines.pose_estimator import PoseEstimator
from mas_ray.shards.manifest import read_manifest
from mas_ray.shards.read import read_dataset

EXAMPLE = Path(__file__).parents[2] / "docs" / "python.md"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save_fresh(tmp_path_factory.mktemp("model") / "checkpoint", seed=0)


def test_given_masks_give_the_poses_of_a_dataset(checkpoint, tiny_dataset, monkeypatch):
    """The networks see rows as a dataset has them, and their keypoints are the frame's own."""
    row = next(read_dataset(tiny_dataset.manifest.parent, read_manifest(tiny_dataset.manifest)))
    networks = FrameSetEstimator.load(checkpoint)
    frames = [picture(n, 1) for n in range(4)]
    masks = [figure_mask(n, 1) for n in range(4)]
    seen = []
    predict = networks.predict

    def spied(rows, slots):
        seen.extend(rows)
        return predict(rows, slots)

    monkeypatch.setattr(networks, "predict", spied)
    poses = PoseEstimator(networks).predict(frames, masks=masks)
    assert len(seen) == 4
    assert set(seen[0]["views"][0]) == set(row["views"][0])
    expected = predict(seen, {"": ("view",)})
    for n, pose in enumerate(poses):
        assert pose is not None
        np.testing.assert_array_equal(pose.keypoints_px, expected.keypoints_px[n, 0].numpy())
        np.testing.assert_array_equal(pose.mask, masks[n])
        left, right = np.flatnonzero(masks[n].any(0))[[0, -1]]
        assert (pose.keypoints_px[:, 0] > left - 30).all()
        assert (pose.keypoints_px[:, 0] < right + 30).all()


def test_nobody_is_none_and_each_pose_stays_with_its_frame(checkpoint):
    masks = [figure_mask(0, 1), None, np.zeros_like(figure_mask(0, 1)), figure_mask(20, 1)]
    frames = [picture(0, 1), picture(1, 1), picture(2, 1), picture(20, 1)]
    estimator = PoseEstimator.load(str(checkpoint))
    poses = estimator.predict(frames, masks=masks)
    assert [pose is None for pose in poses] == [False, True, True, False]
    alone = estimator.predict(frames[3:], masks=masks[3:])[0]
    assert alone is not None
    assert poses[3] is not None
    torch.testing.assert_close(torch.from_numpy(alone.keypoints_px), torch.from_numpy(poses[3].keypoints_px))
    assert estimator.predict([]) == ()
    assert len(estimator.joints) == 18


def test_whoever_moves_is_found(checkpoint):
    estimator = PoseEstimator.load(str(checkpoint), masks=MotionMasks())
    poses = estimator.predict([picture(n, 1) for n in range(20)])
    found = [pose for pose in poses if pose is not None]
    assert len(found) > 10
    assert all(pose.mask.any() and np.isfinite(pose.keypoints_px).all() for pose in found)


@pytest.mark.parametrize(
    ("frames", "masks", "message"),
    [
        ([np.zeros((4, 4), np.uint8)], None, "frames: number 0: expected height x width x 3 bytes"),
        ([picture(0, 1), picture(1, 1)[:40]], None, "frames: number 1: expected (72, 96, 3) as the first"),
        ([picture(0, 1)], [], "masks: expected one for each of 1 frames, got 0"),
        ([picture(0, 1)], [np.ones((3, 3), bool)], "masks: number 0: expected bool (72, 96), got bool (3, 3)"),
        ([picture(0, 1)], [np.ones((72, 96), np.uint8)], "masks: number 0: expected bool (72, 96), got uint8"),
    ],
)
def test_what_is_wrong_is_named(checkpoint, frames, masks, message):
    estimator = PoseEstimator.load(str(checkpoint))
    with pytest.raises(ValueError, match=re.escape(message)):
        estimator.find.__wrapped__(estimator, frames, masks=masks)


def test_the_example_of_the_documentation_runs(tmp_path, monkeypatch, capsys):
    write_video(tmp_path / "dance.mp4", [picture(n, 1) for n in range(20)])
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", EXAMPLE.read_text(), re.DOTALL)
    exec(compile(code, str(EXAMPLE), "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert sum("left wrist at" in line for line in lines) > 10
