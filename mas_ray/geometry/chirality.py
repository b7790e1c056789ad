"""Which side is left, without labels: knees bend forward, and left is the side to the left of forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mas_ray.skeleton import Skeleton


@dataclass(frozen=True, kw_only=True)
class KneeChirality:
    """How far the knees lie in front of the leg's straight line, judged by the predicted names.

    Negative: the knees would bend backwards, so left and right are exchanged.
    """

    mean_mm: float
    standard_error_mm: float
    """Of the mean over poses taken as independent, which those of one video are not: a lower bound. Of the mean over
    takes, if that is what was asked for."""
    num_poses: int

    @property
    def says_swapped(self) -> bool:
        """Whether left and right are exchanged."""
        return self.mean_mm < 0


def knee_chirality(
    joints_world_mm: Float[Tensor, "frames joints 3"], skeleton: Skeleton, *, takes: Sequence[str] | None = None
) -> KneeChirality | None:
    """The statistic over all poses whose legs and thorax are finite; None if there is none.

    Per pose, with u = thorax - pelvis and l = left hip - right hip, forward is l x u (right-handed world), and the
    value is the mean over both legs of (knee - (hip + ankle) / 2) along it, in millimetres.

    Args:
        joints_world_mm: The poses.
        skeleton: Their joints.
        takes: The take of each pose, if mean and standard error are to be over the takes' means. None: over poses.
    """
    bends_mm = values = _knee_bends(joints_world_mm, skeleton)
    if takes is not None:
        of_takes = [torch.tensor([name == take for name in takes]) for take in dict.fromkeys(takes)]
        values = torch.stack([bends_mm[of_take].nanmean() for of_take in of_takes])
    values = values[values.isfinite()]
    if len(values) == 0:
        return None
    spread = float(values.std(correction=1)) if len(values) > 1 else 0.0
    return KneeChirality(
        mean_mm=float(values.mean()),
        standard_error_mm=spread / len(values) ** 0.5,
        num_poses=int(bends_mm.isfinite().sum()),
    )


def _knee_bends(joints_world_mm: Float[Tensor, "frames joints 3"], skeleton: Skeleton) -> Float[Tensor, " frames"]:
    """The value of each pose; NaN where it has none."""

    def joint(name: str) -> Tensor:
        return joints_world_mm[:, skeleton.index(name)]

    up = joint("thorax") - joint("pelvis")
    forward = torch.linalg.cross(joint("left_hip") - joint("right_hip"), up)
    forward = forward / torch.linalg.vector_norm(forward, dim=-1, keepdim=True)
    bends = [
        ((joint(f"{side}_knee") - (joint(f"{side}_hip") + joint(f"{side}_ankle")) / 2) * forward).sum(-1)
        for side in ("left", "right")
    ]
    values = torch.stack(bends).mean(0)
    return values.masked_fill(~values.isfinite(), torch.nan)
