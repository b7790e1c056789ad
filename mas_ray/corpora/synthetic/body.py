"""The people's proportions, and where a moving body's joints are.

Mean proportions follow the draughtsman's canon of seven and a half heads, not a table of measured people: such
tables may give a training its constants, and a test on people made from the same numbers would prove nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float64

from mas_ray.corpora.synthetic.poses import JointAngles
from mas_ray.skeleton import H36M_18

_MEAN_STATURE_MM = 1690.0
_HEADS_PER_STATURE = 7.5
SIDES = (("left", 0, 1.0), ("right", 1, -1.0))
"""Name, place on a (left, right) axis, and sign of y in body axes."""
_UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class Proportions:
    """Lengths of one person, in head heights except where said; the defaults are the canon's."""

    head_mm: float = _MEAN_STATURE_MM / _HEADS_PER_STATURE
    """Height of the head, chin to crown: the unit of all the others."""
    hip_half_width: float = 0.41
    thigh: float = 1.86
    shank: float = 1.70
    ankle_height: float = 0.34
    foot: float = 1.05
    trunk: float = 2.24
    """Middle of the hips to middle of the shoulders."""
    shoulder_half_width: float = 0.80
    upper_arm: float = 1.32
    forearm: float = 1.10
    hand: float = 0.62
    neck: float = 0.28
    """Middle of the shoulders to the root of the neck."""
    head: float = 1.10
    """Root of the neck to the crown."""
    girth: float = 1.0
    """Thickness of the flesh, as a factor."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PosedBody:
    """A body in the world, millimetres. Joints are those of ``skeleton.H36M_18``."""

    joints_world_mm: Float64[np.ndarray, "*instants joints 3"]
    world_from_hips: Float64[np.ndarray, "*instants 3 3"]
    world_from_chest: Float64[np.ndarray, "*instants 3 3"]
    world_from_head: Float64[np.ndarray, "*instants 3 3"]
    fingertips_world_mm: Float64[np.ndarray, "*instants 2 3"]
    """(left, right), like the next."""
    toes_world_mm: Float64[np.ndarray, "*instants 2 3"]

    def at(self, instant: int) -> PosedBody:
        """The body at one instant."""
        return PosedBody(**{field.name: getattr(self, field.name)[instant] for field in fields(self)})


def random_proportions(rng: np.random.Generator) -> Proportions:
    """A person: stature within 6 %, every bone within 10 % and girth within 15 % of the mean. Sides are equal."""
    factors = {field.name: rng.uniform(0.9, 1.1) for field in fields(Proportions)}
    factors |= {"head_mm": rng.uniform(0.94, 1.06), "girth": rng.uniform(0.85, 1.15)}
    mean = Proportions()
    return Proportions(**{name: getattr(mean, name) * factor for name, factor in factors.items()})


def nose_in_head(proportions: Proportions) -> Float64[np.ndarray, " 3"]:
    """Position of the nose relative to the root of the neck, head axes, in head heights."""
    return np.array([0.36, 0.0, 0.47]) * proportions.head


def pose(proportions: Proportions, angles: JointAngles) -> PosedBody:
    """Forward kinematics. The lower foot stands on the floor, z = 0."""
    p, head_mm = proportions, proportions.head_mm
    hips = _about("z", angles.heading)
    chest = (
        hips @ _about("y", angles.trunk_forward) @ _about("x", angles.trunk_sideways) @ _about("z", angles.trunk_twist)
    )
    head = chest @ _about("z", angles.head_turn) @ _about("y", angles.head_nod)
    joints: dict[str, Float64[np.ndarray, "instants 3"]] = {}
    joints["pelvis"] = np.concatenate([angles.position_mm, np.zeros_like(angles.position_mm[:, :1])], axis=-1)
    joints["thorax"] = joints["pelvis"] + chest @ _UP * p.trunk * head_mm
    joints["spine"] = (joints["pelvis"] + joints["thorax"]) / 2
    joints["neck"] = joints["thorax"] + chest @ _UP * p.neck * head_mm
    joints["nose"] = joints["neck"] + head @ nose_in_head(p) * head_mm
    joints["head"] = joints["neck"] + head @ _UP * p.head * head_mm
    fingertips, toes = [], []
    for side, i, sign in SIDES:
        outwards = np.array([0.0, sign, 0.0])
        upper_arm = (
            chest
            @ _about("y", -angles.shoulder_flexion[:, i])
            @ _about("x", sign * angles.shoulder_abduction[:, i])
            @ _about("z", -sign * angles.shoulder_rotation[:, i])
        )
        forearm = upper_arm @ _about("y", -angles.elbow_flexion[:, i])
        thigh = hips @ _about("x", sign * angles.hip_abduction[:, i]) @ _about("y", -angles.hip_flexion[:, i])
        shank = thigh @ _about("y", angles.knee_flexion[:, i])
        shoulder = joints["thorax"] + chest @ outwards * p.shoulder_half_width * head_mm
        elbow = shoulder - upper_arm @ _UP * p.upper_arm * head_mm
        wrist = elbow - forearm @ _UP * p.forearm * head_mm
        hip = joints["pelvis"] + hips @ outwards * p.hip_half_width * head_mm
        knee = hip - thigh @ _UP * p.thigh * head_mm
        ankle = knee - shank @ _UP * p.shank * head_mm
        joints |= {f"{side}_shoulder": shoulder, f"{side}_elbow": elbow, f"{side}_wrist": wrist}
        joints |= {f"{side}_hip": hip, f"{side}_knee": knee, f"{side}_ankle": ankle}
        fingertips.append(wrist - forearm @ _UP * p.hand * head_mm)
        # Half-way between the shank's idea of ahead and the floor's: soles neither stick to the floor nor dangle.
        ahead = (shank @ np.array([1.0, 0.0, 0.0]) + hips @ np.array([1.0, 0.0, 0.0])) / 2
        toes.append(ankle + (ahead * p.foot * 0.72 - _UP * p.ankle_height * 0.6) * head_mm)
    ankles_z_mm = np.stack([joints["left_ankle"][:, 2], joints["right_ankle"][:, 2]])
    lift_mm = (p.ankle_height * head_mm - ankles_z_mm.min(axis=0))[:, None, None] * _UP
    return PosedBody(
        joints_world_mm=np.stack([joints[name] for name in H36M_18.joints], axis=1) + lift_mm,
        world_from_hips=hips,
        world_from_chest=chest,
        world_from_head=head,
        fingertips_world_mm=np.stack(fingertips, axis=1) + lift_mm,
        toes_world_mm=np.stack(toes, axis=1) + lift_mm,
    )


def _about(axis: str, angle: Float64[np.ndarray, " instants"]) -> Float64[np.ndarray, "instants 3 3"]:
    """Rotations about a coordinate axis, right-handed."""
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    rotation = np.tile(np.eye(3), (len(angle), 1, 1))
    rotation[:, i, i] = rotation[:, j, j] = np.cos(angle)
    rotation[:, i, j], rotation[:, j, i] = -np.sin(angle), np.sin(angle)
    return rotation
