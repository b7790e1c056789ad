"""The map cut into square tiles, and which bones to draw in which tile.

A bone fades within a few sigmas and matters to a small part of the map. So work is done tile by tile, for the bones
that reach the tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from mas_ray.geometry.pixel_grid import ndc_from_pixel
from mas_ray.rendering.segment_distance import BoneFrames, bone_offsets


@dataclass(frozen=True, kw_only=True)
class TileGrid:
    """A square map in square tiles; those of the last row and column may stand out over its edge."""

    size: int
    """Side of the map in pixels."""
    side: int
    """Side of a tile in pixels."""

    @property
    def num_along(self) -> int:
        """Tiles along each axis."""
        return -(-self.size // self.side)

    def centres_ndc(self, like: Tensor) -> Float[Tensor, "side tiles"]:
        """Pixel centres of each tile along an axis."""
        pixels = torch.arange(self.num_along * self.side, dtype=like.dtype, device=like.device)
        return ndc_from_pixel(pixels, self.size).unflatten(0, (-1, self.side)).T

    def cut(self, maps: Float[Tensor, "batch height width"]) -> Float[Tensor, "side side tiles"]:
        """The tiles of all maps, map by map and row by row; beyond the map they are 0."""
        excess = self.num_along * self.side - self.size
        padded = F.pad(maps, (0, excess, 0, excess))
        return padded.unflatten(2, (-1, self.side)).unflatten(1, (-1, self.side)).permute(2, 4, 0, 1, 3).flatten(2)

    def join(self, tiles: Float[Tensor, "side side tiles"]) -> Float[Tensor, "batch height width"]:
        """The maps made of all their tiles."""
        num = self.num_along
        maps = tiles.unflatten(2, (tiles.shape[2] // num**2, num, num)).permute(2, 3, 0, 4, 1).flatten(3).flatten(1, 2)
        return maps[:, : self.size, : self.size]


def take_tiles(
    values: Float[Tensor, "side side tiles"], tiles: Int[Tensor, " taken"]
) -> Float[Tensor, "side side taken"]:
    """Some of the tiles. On a CPU torch selects from matrices many times faster than from anything else."""
    return values.flatten(0, 1).index_select(1, tiles).unflatten(0, values.shape[:2])


class Rounds(NamedTuple):
    """What to draw where: in round r, the r-th bone of every tile that has so many. No round meets a tile twice."""

    tiles: Int[Tensor, " reached"]
    """The tiles that any bone reaches, as positions in ``TileGrid.cut``, those with the most bones first."""
    lengths: tuple[int, ...]
    """How many bones each round draws: one in each of so many first tiles."""
    bones: Int[Tensor, " drawn"]
    """The bones, round by round, as positions in the flattened (batch, bones)."""
    places: Int[Tensor, " drawn"]
    """Where each is drawn, as a position in ``tiles``."""
    ranks: Float[Tensor, " drawn"]
    """The round of each."""
    x: Float[Tensor, "side drawn"]
    """Pixel centres of the columns there, in NDC."""
    y: Float[Tensor, "side drawn"]
    """Pixel centres of the rows there, in NDC."""


def plan_rounds(
    grid: TileGrid, frames: BoneFrames, *, widths: Float[Tensor, " bones"], reach: float, nearest_only: bool
) -> Rounds:
    """Find the bones that come within ``reach`` sigmas of a tile.

    Args:
        grid: How the map is cut.
        frames: Frames of (batch, bones).
        widths: Sigma of each bone in NDC.
        reach: In sigmas.
        nearest_only: Leave out a bone where another one is nearer, in sigmas, to all pixels of the tile.
    """
    num_bones = len(widths)
    centres = grid.centres_ndc(widths)
    middle = centres.mean(0)[:, None, None]
    distance = bone_offsets(frames, middle, middle).squared_distance().sqrt_()
    slack = (grid.side - 1) * 2**0.5 / grid.size / widths  # from the middle of a tile to its corners
    drawn = distance - slack < reach
    if nearest_only:
        drawn &= distance - slack <= (distance + slack).amin(-1, keepdim=True)
    drawn = drawn.flatten(0, 1).transpose(0, 1).flatten(0, 1)
    num_drawn = drawn.sum(1)
    lengths = (num_drawn[:, None] > torch.arange(num_bones, device=drawn.device)).sum(0).tolist()
    lengths = tuple(length for length in lengths if length)
    tiles = num_drawn.argsort(descending=True, stable=True)[: lengths[0] if lengths else 0]
    num_drawn = num_drawn[tiles]
    bone = drawn[tiles].nonzero()[:, 1] + tiles.repeat_interleave(num_drawn) // grid.num_along**2 * num_bones
    first = num_drawn.cumsum(0) - num_drawn
    rank, place = (num_drawn > torch.arange(len(lengths), device=drawn.device)[:, None]).nonzero(as_tuple=True)
    tile = tiles[place]
    row, column = tile // grid.num_along % grid.num_along, tile % grid.num_along
    return Rounds(
        tiles,
        lengths,
        bone[first[place] + rank],
        place,
        rank.to(widths),
        centres.index_select(1, column),
        centres.index_select(1, row),
    )
