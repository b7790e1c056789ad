"""Distance from pixels to bones (Eq. 16-17), in the frame of each bone.

As printed, Eq. 17 has the sign of r reversed and the middle case of Eq. 16 is not on the segment. Meant, and used
here: the nearest point of the segment from a to b is ``a + clamp(r, 0, 1) (b - a)`` with
``r = (p - a).(b - a) / |b - a|^2``.

The frame has its origin in the middle of the bone, one axis along the bone, and sigma as its unit. A pixel's
coordinates along and across the bone are then sums of a term in x and a term in y, and the three cases of Eq. 16 are
one clamp without a division. A bone of length zero is a point, the degenerate bone of Eq. 3.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class BoneFrames(NamedTuple):
    """The frame of each bone."""

    middle: Float[Tensor, "*bones 2"]
    """In NDC."""
    axis: Float[Tensor, "*bones 2"]
    """Direction of the bone, of length 1 / sigma: a product with it is in sigmas."""
    half_length: Float[Tensor, "*bones"]
    """In sigmas."""

    def take(self, bones: Int[Tensor, " taken"]) -> BoneFrames:
        """Some of the frames, by their position on the first axis."""
        return BoneFrames(*(field.index_select(0, bones) for field in self))


def bone_frames(ends_ndc: Float[Tensor, "*batch bones 2 2"], widths: Float[Tensor, " bones"]) -> BoneFrames:
    """The frames of bones given by their two ends and their sigmas in NDC."""
    start, end = ends_ndc.unbind(-2)
    bone = end - start
    length = torch.hypot(bone[..., 0], bone[..., 1])  # unlike squares, these neither overflow nor vanish early
    number = torch.finfo(length.dtype)
    has_direction = (length > number.tiny / number.eps)[..., None]
    direction = torch.where(has_direction, bone / length[..., None], bone.new_tensor([1.0, 0.0]))
    return BoneFrames((start + end) / 2, direction / widths[:, None], length / 2 / widths)


class BoneOffsets(NamedTuple):
    """From the nearest point of each bone to pixels, in sigmas. The pixels' axes come first: bones are many."""

    along: Float[Tensor, "rows columns *bones"]
    """Zero beside the bone, not zero beyond its ends."""
    across: Float[Tensor, "rows columns *bones"]
    nearest: Float[Tensor, "rows columns *bones"]
    """Where on the bone the nearest point is: from ``-half_length`` at the start to ``half_length`` at the end."""

    def squared_distance(self) -> Float[Tensor, "rows columns *bones"]:
        """In sigmas."""
        return self.across.square().addcmul_(self.along, self.along)


def bone_offsets(
    frames: BoneFrames, x: Float[Tensor, "columns *#bones"], y: Float[Tensor, "rows *#bones"]
) -> BoneOffsets:
    """The offsets of the pixels in columns ``x`` and rows ``y``, in NDC, from each bone."""
    middle_x, middle_y = frames.middle.unbind(-1)
    axis_x, axis_y = frames.axis.unbind(-1)
    x, y = x - middle_x, y - middle_y
    along = (x * axis_x)[None, :] + (y * axis_y)[:, None]
    across = (x * axis_y)[None, :] - (y * axis_x)[:, None]
    nearest = along.minimum(frames.half_length).maximum(-frames.half_length)
    return BoneOffsets(along.sub_(nearest), across, nearest)
