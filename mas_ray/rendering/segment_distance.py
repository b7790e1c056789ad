"""Squared distance from pixels to line segments (Eq. 16-17).

As printed, Eq. 17 has the sign of r reversed and the middle case of Eq. 16 is not on the segment. Meant, and used
here: the nearest point is ``a + clamp(r, 0, 1) (b - a)`` with ``r = (p - a).(b - a) / |b - a|^2``. A bone of length
zero is the point a: the degenerate bone of Eq. 3.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

_SMALLEST_LENGTH_SQUARED = 1e-12


def squared_distance(
    x: Float[Tensor, "*#shape"],
    y: Float[Tensor, "*#shape"],
    start: Float[Tensor, "*#shape 2"],
    end: Float[Tensor, "*#shape 2"],
) -> Float[Tensor, "*shape"]:
    """Squared distance of points (x, y) to the segments from ``start`` to ``end``, all in NDC."""
    bone_x, bone_y = end[..., 0] - start[..., 0], end[..., 1] - start[..., 1]
    to_x, to_y = x - start[..., 0], y - start[..., 1]
    length_squared = (bone_x.square() + bone_y.square()).clamp_min(_SMALLEST_LENGTH_SQUARED)
    along = ((to_x * bone_x + to_y * bone_y) / length_squared).clamp(0.0, 1.0)
    return (to_x - along * bone_x).square() + (to_y - along * bone_y).square()
