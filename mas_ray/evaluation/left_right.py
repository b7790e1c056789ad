"""What an evaluation does about left and right, which masks cannot tell apart: three handlings, stated per result.

``raw`` takes the predicted names as they are. ``global_bit`` makes one decision for the whole split without labels:
knees bend forward. ``oracle_pose`` asks the reference, once per frame set: the least error any such bit could give.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mas_ray.skeleton import Skeleton

Handling = Literal["raw", "global_bit", "oracle_pose"]
HANDLINGS: tuple[Handling, ...] = ("raw", "global_bit", "oracle_pose")


def exchange_sides(
    joints: Float[Tensor, "frames *views joints axes"], swap: Bool[Tensor, " frames"], skeleton: Skeleton
) -> Float[Tensor, "frames *views joints axes"]:
    """Exchange left and right names in the frames where ``swap`` is True, in all views alike."""
    mirrored = joints[..., list(skeleton.mirror_permutation), :]
    return torch.where(swap.reshape(-1, *(1,) * (joints.ndim - 1)), mirrored, joints)


def oracle_swaps(
    direct_error: Float[Tensor, " frames"], exchanged_error: Float[Tensor, " frames"]
) -> Bool[Tensor, " frames"]:
    """Where exchanging the names brings a frame set nearer to the reference; NaN never does."""
    return exchanged_error < direct_error
