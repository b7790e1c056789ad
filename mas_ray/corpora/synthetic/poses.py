"""How the people move: joint angles over time, per action. Angles are radians, zero is the attention pose.

Body axes are x forward, y left, z up. What an angle turns is said by ``JointAngles``; ``body`` does the turning.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Float64

_Degrees = tuple[int, int]  # from, to


@dataclass(frozen=True, kw_only=True, eq=False)
class JointAngles:
    """A movement: every angle at every instant. The last axis of the paired ones is (left, right)."""

    heading: Float64[np.ndarray, " instants"]
    """Which way the hips face, about the world's z; 0 faces the world's x."""
    position_mm: Float64[np.ndarray, "instants 2"]
    """Where on the floor the pelvis is."""
    trunk_forward: Float64[np.ndarray, " instants"]
    trunk_sideways: Float64[np.ndarray, " instants"]
    """Positive leans to the right."""
    trunk_twist: Float64[np.ndarray, " instants"]
    """Positive turns the shoulders to the left of the hips."""
    head_turn: Float64[np.ndarray, " instants"]
    head_nod: Float64[np.ndarray, " instants"]
    shoulder_flexion: Float64[np.ndarray, "instants 2"]
    """Lifts the arm forward, past the horizontal at pi / 2."""
    shoulder_abduction: Float64[np.ndarray, "instants 2"]
    """Lifts the arm sideways, away from the trunk."""
    shoulder_rotation: Float64[np.ndarray, "instants 2"]
    """Turns the upper arm about itself; positive brings a bent forearm before the chest."""
    elbow_flexion: Float64[np.ndarray, "instants 2"]
    hip_flexion: Float64[np.ndarray, "instants 2"]
    hip_abduction: Float64[np.ndarray, "instants 2"]
    knee_flexion: Float64[np.ndarray, "instants 2"]


@dataclass(frozen=True, kw_only=True)
class _Arm:
    """Ranges from which one arm's pose is drawn."""

    flexion: _Degrees
    abduction: _Degrees
    rotation: _Degrees
    elbow: _Degrees


@dataclass(frozen=True, kw_only=True)
class _Action:
    """Ranges from which the keyframes of an action are drawn, and how it moves about."""

    arms: tuple[_Arm, ...]
    """Each arm draws one of these, independently of the other."""
    trunk_forward: _Degrees = (-4, 8)
    trunk_sideways: _Degrees = (-9, 9)
    trunk_twist: _Degrees = (-12, 12)
    crouch: _Degrees = (0, 12)
    """Flexion of the hips; the knees bend twice as much."""
    turn_rate_s: tuple[float, float] = (-0.1, 0.1)
    """Change of heading, radians per second, either way round."""
    stride: int = 0
    """Amplitude of the legs' swing."""
    speed_mm_s: float = 0.0


_HANGING = _Arm(flexion=(-10, 18), abduction=(8, 22), rotation=(-10, 30), elbow=(5, 30))
_RAISED = _Arm(flexion=(105, 165), abduction=(5, 35), rotation=(-20, 40), elbow=(0, 60))
_SIDEWAYS = _Arm(flexion=(-10, 25), abduction=(55, 115), rotation=(-40, 40), elbow=(0, 80))
_REACHING = _Arm(flexion=(50, 110), abduction=(0, 30), rotation=(-20, 40), elbow=(0, 35))
_ON_HIP = _Arm(flexion=(-28, -12), abduction=(40, 52), rotation=(30, 55), elbow=(85, 105))
_FOLDED = _Arm(flexion=(10, 40), abduction=(8, 30), rotation=(-20, 40), elbow=(80, 130))

_ACTIONS = {
    "stand": _Action(arms=(_HANGING, _ON_HIP, _FOLDED, _SIDEWAYS)),
    "walk": _Action(arms=(_HANGING, _HANGING, _FOLDED), turn_rate_s=(1.2, 1.7), stride=28, speed_mm_s=450.0),
    "raise": _Action(arms=(_RAISED, _RAISED, _SIDEWAYS), trunk_forward=(-6, 10)),
    "reach": _Action(arms=(_REACHING, _REACHING, _HANGING), trunk_forward=(0, 25), trunk_twist=(-35, 35), stride=12),
    "bend": _Action(arms=(_REACHING, _HANGING, _SIDEWAYS), trunk_forward=(15, 75), crouch=(0, 40)),
    "lean": _Action(
        arms=(_HANGING, _RAISED, _SIDEWAYS, _ON_HIP),
        trunk_forward=(-16, 10),
        trunk_sideways=(-36, 36),
        trunk_twist=(-20, 20),
    ),
    "turn": _Action(arms=(_HANGING, _SIDEWAYS, _REACHING), turn_rate_s=(0.8, 1.6), stride=10),
}
ACTIONS = tuple(_ACTIONS)

_KEYFRAME_INTERVAL_S = 1.0
_STRIDES_PER_S = 0.9
_LARGEST_OFFSET_MM = 200.0


def movement(action: str, num_instants: int, *, fps: int, direction: float, rng: np.random.Generator) -> JointAngles:
    """A smooth random movement of an action: drawn keyframes, one a second, eased into each other, plus a gait.

    Args:
        action: One of ``ACTIONS``.
        num_instants: How long it is.
        fps: Instants per second.
        direction: Heading at the start, radians.
        rng: Source of all chance.
    """
    kind = _ACTIONS[action]
    time_s = np.arange(num_instants) / fps
    position = time_s / _KEYFRAME_INTERVAL_S
    keys = _eased(_keyframes(kind, int(position[-1]) + 2, rng), position)
    turn_rate_s = rng.uniform(*kind.turn_rate_s) * rng.choice([-1.0, 1.0])
    path_heading = direction + turn_rate_s * time_s
    phase = 2 * np.pi * (_STRIDES_PER_S * time_s + rng.uniform())[:, None] + np.array([0.0, np.pi])
    stride = np.radians(kind.stride)
    swing = stride * np.sin(phase)
    return replace(
        keys,
        heading=path_heading + keys.heading,
        position_mm=_path(path_heading, kind.speed_mm_s / turn_rate_s) + keys.position_mm,
        shoulder_flexion=keys.shoulder_flexion - 0.9 * swing,
        hip_flexion=keys.hip_flexion + swing,
        knee_flexion=keys.knee_flexion + 1.8 * stride * np.sin(phase + np.pi / 3).clip(min=0.0) ** 2,
    )


def _path(heading: Float64[np.ndarray, " instants"], radius_mm: float) -> Float64[np.ndarray, "instants 2"]:
    """Points of a circle about the origin on which one walks ahead, counter-clockwise for a positive radius."""
    return radius_mm * np.stack([np.sin(heading), -np.cos(heading)], axis=-1)


def _keyframes(kind: _Action, num: int, rng: np.random.Generator) -> JointAngles:
    arms = [[kind.arms[rng.integers(len(kind.arms))] for _ in range(2)] for _ in range(num)]

    def degrees(limits: _Degrees, *pair: int) -> Float64[np.ndarray, "num ..."]:
        return np.radians(rng.uniform(*limits, size=(num, *pair)))

    def of_arms(name: str) -> Float64[np.ndarray, "num 2"]:
        return np.radians([[rng.uniform(*getattr(arm, name)) for arm in pair] for pair in arms])

    trunk_forward = degrees(kind.trunk_forward)
    crouch = degrees(kind.crouch)[:, None]
    # Arms hang by gravity, not along a trunk that leans.
    hanging = trunk_forward.clip(min=0.0)[:, None] * rng.uniform(0.5, 1.0, size=(num, 2))
    position_mm = np.tile(rng.uniform(-_LARGEST_OFFSET_MM, _LARGEST_OFFSET_MM, size=2), (num, 1))
    return JointAngles(
        heading=degrees((-15, 15)),
        position_mm=position_mm + rng.uniform(-40, 40, size=(num, 2)),
        trunk_forward=trunk_forward,
        trunk_sideways=degrees(kind.trunk_sideways),
        trunk_twist=degrees(kind.trunk_twist),
        head_turn=degrees((-35, 35)),
        head_nod=degrees((-12, 22)),
        shoulder_flexion=of_arms("flexion") + hanging,
        shoulder_abduction=of_arms("abduction"),
        shoulder_rotation=of_arms("rotation"),
        elbow_flexion=of_arms("elbow"),
        hip_flexion=crouch + degrees((-4, 8), 2),
        hip_abduction=degrees((-3, 11), 2),
        knee_flexion=2 * crouch + degrees((2, 14), 2),
    )


def _eased(keys: JointAngles, position: Float64[np.ndarray, " instants"]) -> JointAngles:
    """The movement at fractional keyframe positions: each keyframe eases (3 s^2 - 2 s^3) into the next."""
    before = position.astype(int)
    share = position - before
    ease = share * share * (3 - 2 * share)

    def at(values: Float64[np.ndarray, "keys ..."]) -> Float64[np.ndarray, "instants ..."]:
        weight = ease.reshape(-1, *[1] * (values.ndim - 1))
        return (1 - weight) * values[before] + weight * values[before + 1]

    return JointAngles(**{field.name: at(getattr(keys, field.name)) for field in fields(keys)})
