"""Distance from pixels to bones (Eq. 16-17), in the frame of each bone.

As printed, Eq. 17 has the sign of r reversed and the middle case of Eq. 16 is not on the segment. Meant, and used
here: the nearest point of the segment from a to b is ``a + clamp(r, 0, 1) (b - a)`` with
``r = (p - a).(b - a) / |b - a|^2``.

The frame has its origin in the middle of the bone, one axis along the bone, and sigma as its unit. A pixel's
coordinates along and across the bone are then sums of a term in x and a term in y, and the three cases of Eq. 16 are
one clamp without a division. A bone of length zero is a point, the degenerate bone of Eq. 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


class PixelTerms(NamedTuple):
    """What its column and its row add to a pixel's coordinates along and across each bone, in sigmas."""

    column_along: Float[Tensor, "columns *#bones"]
    row_along: Float[Tensor, "rows *#bones"]
    column_across: Float[Tensor, "columns *#bones"]
    row_across: Float[Tensor, "rows *#bones"]
    half_length: Float[Tensor, "*bones"]

    def offsets(self) -> BoneOffsets:
        """The offsets of all pixels, column by row, from each bone."""
        along = self.column_along[None, :] + self.row_along[:, None]
        across = self.column_across[None, :] + self.row_across[:, None]
        nearest = along.clamp(-self.half_length, self.half_length)
        return BoneOffsets(along.sub_(nearest), across, nearest)

    def take(self, bones: Int[Tensor, " taken"]) -> PixelTerms:
        """The terms of some bones, by their position on the last axis."""
        return PixelTerms(*(field.index_select(-1, bones) for field in self))

    def split(self, sizes: int | Sequence[int]) -> Iterator[PixelTerms]:
        """The terms of so many bones at a time."""
        return map(PixelTerms._make, zip(*(field.split(sizes, -1) for field in self), strict=True))


def pixel_terms(
    frames: BoneFrames, x: Float[Tensor, "columns *#bones"], y: Float[Tensor, "rows *#bones"]
) -> PixelTerms:
    """The terms of the pixels in columns ``x`` and rows ``y``, in NDC, for each bone."""
    middle_x, middle_y = frames.middle.unbind(-1)
    axis_x, axis_y = frames.axis.unbind(-1)
    x, y = x - middle_x, y - middle_y
    return PixelTerms(x * axis_x, y * axis_y, x * axis_y, -y * axis_x, frames.half_length)


def bone_offsets(
    frames: BoneFrames, x: Float[Tensor, "columns *#bones"], y: Float[Tensor, "rows *#bones"]
) -> BoneOffsets:
    """The offsets of the pixels in columns ``x`` and rows ``y``, in NDC, from each bone."""
    return pixel_terms(frames, x, y).offsets()
