from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from mas_ray.corpora.synthetic.body import PosedBody, Proportions, pose, random_proportions
from mas_ray.corpora.synthetic.poses import ACTIONS, JointAngles, movement
from mas_ray.skeleton import H36M_18


def _attention(**angles: object) -> JointAngles:
    pairs = ("position_mm", "shoulder_", "elbow_", "hip_", "knee_")
    zeros = {f.name: np.zeros((1, 2) if f.name.startswith(pairs) else 1) for f in fields(JointAngles)}
    return replace(JointAngles(**zeros), **angles)


def _joints(body: PosedBody) -> dict[str, np.ndarray]:
    return {name: body.joints_world_mm[:, i] for i, name in enumerate(H36M_18.joints)}


def _moving(action: str, seed: int, num: int = 60, fps: int = 25) -> PosedBody:
    rng = np.random.default_rng(seed)
    direction = rng.uniform(0, 2 * np.pi)
    return pose(random_proportions(rng), movement(action, num, fps=fps, direction=direction, rng=rng))


def test_at_attention_one_stands_upright_facing_x_with_the_left_side_towards_y():
    joints = {name: value[0] for name, value in _joints(pose(Proportions(), _attention())).items()}
    assert 1600 < joints["head"][2] < 1750
    assert joints["nose"][0] > joints["head"][0] + 50
    assert joints["left_ankle"][2] == joints["right_ankle"][2] == pytest.approx(77, abs=5)
    for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        assert joints[f"left_{part}"][1] == -joints[f"right_{part}"][1] > 80
    assert joints["left_wrist"][2] < joints["left_elbow"][2] < joints["left_shoulder"][2]


@pytest.mark.parametrize(
    ("angle", "joint", "axis", "sign"),
    [
        ("trunk_forward", "thorax", 0, 1),
        ("trunk_sideways", "thorax", 1, -1),
        ("trunk_twist", "left_shoulder", 0, -1),
        ("head_turn", "nose", 1, 1),
        ("head_nod", "nose", 2, -1),
        ("shoulder_flexion", "left_wrist", 0, 1),
        ("shoulder_abduction", "left_wrist", 1, 1),
        ("shoulder_abduction", "right_wrist", 1, -1),
        ("elbow_flexion", "right_wrist", 0, 1),
        ("hip_flexion", "left_knee", 0, 1),
        ("hip_abduction", "right_ankle", 1, -1),
        ("knee_flexion", "left_ankle", 0, -1),
        ("heading", "nose", 1, 1),
    ],
)
def test_what_each_angle_turns(angle: str, joint: str, axis: int, sign: int):
    rest = _attention()
    turned = replace(rest, **{angle: np.full_like(getattr(rest, angle), 0.5)})
    moved = _joints(pose(Proportions(), turned))[joint] - _joints(pose(Proportions(), rest))[joint]
    assert sign * moved[0, axis] > 20


def test_rotating_the_upper_arms_brings_the_bent_forearms_together():
    bent = {"elbow_flexion": np.full((1, 2), 1.5)}
    apart = _joints(pose(Proportions(), _attention(**bent)))
    joints = _joints(pose(Proportions(), _attention(**bent, shoulder_rotation=np.full((1, 2), 0.6))))
    assert joints["left_wrist"][0, 1] < apart["left_wrist"][0, 1] - 50
    assert joints["right_wrist"][0, 1] > apart["right_wrist"][0, 1] + 50


@pytest.mark.parametrize("action", ACTIONS)
def test_bones_keep_their_length_and_centres_are_centres(action: str):
    body = _moving(action, 1)
    joints = _joints(body)
    child, parent = np.arange(1, 18), np.array(H36M_18.parents[1:])
    lengths = np.linalg.norm(body.joints_world_mm[:, child] - body.joints_world_mm[:, parent], axis=-1)
    np.testing.assert_allclose(lengths, np.broadcast_to(lengths[0], lengths.shape), atol=1e-6)
    np.testing.assert_allclose(joints["pelvis"], (joints["left_hip"] + joints["right_hip"]) / 2, atol=1e-6)
    np.testing.assert_allclose(joints["thorax"], (joints["left_shoulder"] + joints["right_shoulder"]) / 2, atol=1e-6)
    np.testing.assert_allclose(joints["spine"], (joints["pelvis"] + joints["thorax"]) / 2, atol=1e-6)


@pytest.mark.parametrize("action", ACTIONS)
def test_movement_is_smooth_and_stays_on_the_floor_near_the_middle(action: str):
    for seed in range(3):
        joints = _moving(action, seed).joints_world_mm
        speed_mm_s = np.linalg.norm(np.diff(joints, axis=0), axis=-1) * 25
        assert speed_mm_s.max() < 5000
        assert speed_mm_s.max() > 50
        ankles = joints[:, [H36M_18.index("left_ankle"), H36M_18.index("right_ankle")], 2]
        assert np.ptp(ankles.min(axis=1)) < 1e-6
        assert np.abs(joints[:, 0, :2]).max() < 650


@pytest.mark.parametrize("action", ACTIONS)
def test_left_is_up_cross_forward_and_knees_bend_forward(action: str):
    for seed in range(4):
        body = _moving(action, seed)
        joints = _joints(body)
        neck_to_head = joints["head"] - joints["neck"]
        neck_to_head /= np.linalg.norm(neck_to_head, axis=-1, keepdims=True)
        nose = joints["nose"] - joints["neck"]
        ahead = nose - (nose * neck_to_head).sum(axis=-1, keepdims=True) * neck_to_head
        left = np.cross(joints["thorax"] - joints["pelvis"], ahead)
        assert ((left * (joints["left_shoulder"] - joints["right_shoulder"])).sum(axis=-1) > 0).all()
        hips = joints["left_hip"] - joints["right_hip"]
        hips_ahead = np.cross(hips, [0.0, 0.0, 1.0])
        for side in ("left", "right"):
            bend = joints[f"{side}_knee"] - (joints[f"{side}_hip"] + joints[f"{side}_ankle"]) / 2
            assert ((bend * hips_ahead).sum(axis=-1) > -1e-6).mean() > 0.99


def test_people_differ_and_stay_within_ten_percent_per_bone():
    mean = Proportions()
    people = [random_proportions(np.random.default_rng(seed)) for seed in range(50)]
    for field in fields(Proportions):
        factors = np.array([getattr(person, field.name) for person in people]) / getattr(mean, field.name)
        assert 0.1 < np.ptp(factors) <= 0.3
        assert abs(factors.mean() - 1) < 0.03
