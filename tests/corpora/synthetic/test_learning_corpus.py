"""The corpus that learning is measured on: pinned, and not easy.

The pins were set before the first figure was taken. Whoever changes what they pin owes all figures anew.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

import numpy as np
import pytest

from mas_ray.corpora.synthetic.config import LEARNING_SPLIT, FrontCue, learning_corpus
from mas_ray.corpora.synthetic.recording import Recording, frames, record
from mas_ray.skeleton import H36M_18

PEOPLE_AND_POSES = "55514b64e6b02f876b7096641f838799b76eec4ae95290a9d7b6bb970f374e8e"
DRAWN = {
    "easy": "b2cf2e7e46eda819f4b005fcf47e463f277a1c55cd6eae3953a22ab921f6a5fb",
    "hard": "3fa22787f0ed86181db78aa45d4805cd244d44c7567b3b4f9c19d0e0e3e1f15c",
}
SPLIT = "15652029e280433766af2cbba2bf3ecbb2284b4740aaf9fb3a724c9b1c8cfd32"


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    config = learning_corpus("easy")
    return [record(config, s, t) for s in range(config.num_subjects) for t in range(config.takes_per_subject)]


@pytest.fixture(scope="module")
def joints(recordings: list[Recording]) -> dict[str, np.ndarray]:
    """World positions of every instant, by joint."""
    everything = np.concatenate([recording.body.joints_world_mm for recording in recordings])
    return {name: everything[:, i] for i, name in enumerate(H36M_18.joints)}


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def test_people_poses_and_cameras_are_pinned(recordings: list[Recording]):
    digest = _sha256(
        [
            [
                recording.subject,
                recording.action,
                np.rint(recording.body.joints_world_mm).astype(int).tolist(),
                [np.rint(camera.t_mm).astype(int).tolist() for camera in recording.cameras.values()],
                {name: round(value, 3) for name, value in asdict(recording.proportions).items()},
            ]
            for recording in recordings
        ]
    )
    assert digest == PEOPLE_AND_POSES


@pytest.mark.parametrize("front_cue", ["easy", "hard"])
def test_the_strength_of_the_front_cue_is_pinned(front_cue: FrontCue):
    """By a coarse picture of 16 grey levels: rounding differs from machine to machine, clothes do not."""
    config = learning_corpus(front_cue)
    coarse = []
    for subject, take in ((0, 0), (13, 1), (39, 4)):
        recording = record(config, subject, take)
        for camera in recording.cameras:
            image, mask = next(frames(recording, camera))
            person = np.where(mask[..., None], image, 0).reshape(16, 16, 16, 16, 3).mean(axis=(1, 3))
            coarse.append((person // 16).astype(int).tolist())
    assert _sha256(coarse) == DRAWN[front_cue]


def test_the_split_is_pinned_and_by_people():
    config = learning_corpus("easy")
    assert _sha256(asdict(LEARNING_SPLIT)) == SPLIT
    held_out = {*LEARNING_SPLIT.validation, *LEARNING_SPLIT.test}
    assert len(held_out) == len(LEARNING_SPLIT.validation) + len(LEARNING_SPLIT.test) == 12
    num_train = config.num_subjects - len(held_out)
    assert num_train * config.takes_per_subject * config.instants_per_take >= 1500


def test_headings_are_uniform(joints: dict[str, np.ndarray]):
    across = joints["left_hip"] - joints["right_hip"]
    counts = np.histogram(np.arctan2(across[:, 1], across[:, 0]), bins=12, range=(-np.pi, np.pi))[0]
    assert counts.min() > 0.6 * counts.mean()
    assert counts.max() < 1.4 * counts.mean()


def test_poses_are_not_easy(joints: dict[str, np.ndarray]):
    trunk = joints["thorax"] - joints["pelvis"]
    left = joints["left_hip"] - joints["right_hip"]
    left /= np.linalg.norm(left, axis=-1, keepdims=True)
    ahead = np.cross(left, [0.0, 0.0, 1.0])
    forward = np.degrees(np.arctan2((trunk * ahead).sum(-1), trunk[:, 2]))
    sideways = np.degrees(np.arcsin((trunk * left).sum(-1) / np.linalg.norm(trunk, axis=-1)))
    apart_mm = np.linalg.norm(joints["left_ankle"] - joints["right_ankle"], axis=-1)
    raised = [joints[f"{side}_wrist"][:, 2] > joints[f"{side}_shoulder"][:, 2] for side in ("left", "right")]
    assert (forward > 30).mean() >= 0.12
    assert (forward < -3).mean() >= 0.12
    assert (np.abs(sideways) > 15).mean() >= 0.07
    assert (apart_mm > 450).mean() >= 0.13
    assert (apart_mm < 280).mean() >= 0.3
    assert (raised[0] | raised[1]).mean() >= 0.4
    assert (raised[0] & raised[1]).mean() >= 0.12


def test_wrists_are_often_outside_the_trunks_silhouette(recordings: list[Recording]):
    """Outside the box of shoulders and hips as a camera sees it, grown by 120 mm aside and 80 mm up and down."""
    shares = []
    for recording in recordings:
        for camera in recording.cameras.values():
            points = recording.body.joints_world_mm @ camera.R.T + camera.t_mm
            u, v = points[..., 0], points[..., 1]
            trunk = [H36M_18.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("shoulder", "hip")]
            low, high = u[:, trunk].min(-1) - 120, u[:, trunk].max(-1) + 120
            top, bottom = v[:, trunk].min(-1) - 80, v[:, trunk].max(-1) + 80
            for side in ("left", "right"):
                wrist = H36M_18.index(f"{side}_wrist")
                inside = (u[:, wrist] > low) & (u[:, wrist] < high) & (v[:, wrist] > top) & (v[:, wrist] < bottom)
                shares.append(1 - inside.mean())
    assert np.mean(shares) >= 0.4
