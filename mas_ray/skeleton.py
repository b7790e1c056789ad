"""The skeleton: joints, kinematic tree, mirror pairs, and the bones that each stage draws.

Everything is addressed by joint name; indices are derived here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from mas_ray.config.stage import BoneSet


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """A kinematic tree and the bones drawn for it.

    Attributes:
        joints: Joint names; their order is the order of every ``joints`` axis.
        parents: Index of each joint's parent, -1 for the root.
        mirror_pairs: (left, right) names of the joints that swap under a reflection.
        bone_sets: Per set, the bones drawn as (joint, joint) names.
        arm_bones: The bones drawn thinner (``arm_bone_width``), whatever the set.

    Raises:
        ValueError: A name is unknown or a list has the wrong length; the message names the field.
    """

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    mirror_pairs: tuple[tuple[str, str], ...]
    bone_sets: Mapping[BoneSet, tuple[tuple[str, str], ...]]
    arm_bones: frozenset[tuple[str, str]]

    def __post_init__(self) -> None:
        if len(self.parents) != len(self.joints):
            raise ValueError(f"parents: expected {len(self.joints)} entries, got {len(self.parents)}")
        named = [name for pair in self.mirror_pairs for name in pair]
        named += [name for bones in self.bone_sets.values() for bone in bones for name in bone]
        unknown = sorted(set(named) - set(self.joints))
        if unknown:
            raise ValueError(f"bone_sets or mirror_pairs name unknown joints: {', '.join(unknown)}")

    @property
    def num_joints(self) -> int:
        """Number of joints."""
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Position of a joint on the joints axis; ``ValueError`` if there is no such joint."""
        if joint not in self._index:
            raise ValueError(f"unknown joint {joint!r}; known: {', '.join(self.joints)}")
        return self._index[joint]

    def bones(self, bone_set: BoneSet) -> tuple[tuple[int, int], ...]:
        """The bones of a set as index pairs, in drawing order."""
        return tuple((self.index(a), self.index(b)) for a, b in self.bone_sets[bone_set])

    def is_arm_bone(self, bone_set: BoneSet) -> tuple[bool, ...]:
        """For each bone of a set, whether it is drawn with the arms' width."""
        return tuple(bone in self.arm_bones for bone in self.bone_sets[bone_set])

    @cached_property
    def mirror_permutation(self) -> tuple[int, ...]:
        """The permutation of the joints axis that swaps left and right names."""
        permutation = list(range(self.num_joints))
        for left, right in self.mirror_pairs:
            i, j = self.index(left), self.index(right)
            permutation[i], permutation[j] = j, i
        return tuple(permutation)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.joints)}


_TRUNK_HEAD_LEGS = (
    ("right_hip", "pelvis"),
    ("right_knee", "right_hip"),
    ("right_ankle", "right_knee"),
    ("left_hip", "pelvis"),
    ("left_knee", "left_hip"),
    ("left_ankle", "left_knee"),
    ("spine", "pelvis"),
    ("neck", "thorax"),
    ("nose", "neck"),
    ("head", "nose"),
    ("left_shoulder", "thorax"),
    ("right_shoulder", "thorax"),
    ("thorax", "spine"),
)
_ARMS = (
    ("left_elbow", "left_shoulder"),
    ("left_wrist", "left_elbow"),
    ("right_elbow", "right_shoulder"),
    ("right_wrist", "right_elbow"),
)
_TRUNK_DIAGONALS = (
    ("right_hip", "spine"),
    ("left_hip", "spine"),
    ("left_shoulder", "spine"),
    ("right_shoulder", "spine"),
)
_TRUNK_SIDES = (
    ("right_knee", "pelvis"),
    ("left_knee", "pelvis"),
    ("right_shoulder", "right_hip"),
    ("left_shoulder", "left_hip"),
)

_JOINTS = (
    "pelvis",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "spine",
    "neck",
    "nose",
    "head",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "thorax",
)

H36M_18 = Skeleton(
    joints=_JOINTS,
    parents=(-1, 0, 1, 2, 0, 4, 5, 0, 17, 8, 9, 17, 11, 12, 17, 14, 15, 7),
    mirror_pairs=(
        ("left_hip", "right_hip"),
        ("left_knee", "right_knee"),
        ("left_ankle", "right_ankle"),
        ("left_shoulder", "right_shoulder"),
        ("left_elbow", "right_elbow"),
        ("left_wrist", "right_wrist"),
    ),
    # Fig. 7 shows the lists without naming them. Tight: dense trunk, no arms. Medium: fewer auxiliary lines,
    # no arms. Loose: the kinematic tree and the trunk's diagonals. Points: the degenerate bones of Eq. 3.
    bone_sets=MappingProxyType(
        {
            "tight": _TRUNK_HEAD_LEGS + _TRUNK_DIAGONALS + _TRUNK_SIDES,
            "medium": _TRUNK_HEAD_LEGS + _TRUNK_DIAGONALS,
            "loose": _TRUNK_HEAD_LEGS + _ARMS + _TRUNK_DIAGONALS,
            "points": tuple((joint, joint) for joint in _JOINTS),
        }
    ),
    arm_bones=frozenset(_ARMS),
)
