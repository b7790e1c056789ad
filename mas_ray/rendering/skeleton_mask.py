"""Keypoints to a skeleton mask (Eq. 4-5): every bone a soft line, and the lines merged pixel by pixel.

A bone is worth ``exp(-d^2 / sigma^2)`` at distance d. The text of the paper sums the bones; the sum exceeds 1 where
bones meet, so it is clamped. The maximum, here the default, stays in [0, 1] by itself and leaves every pixel to its
nearest bone. Noisy-or, ``1 - prod(1 - bone)``, is the smooth one between them.

Two things make it fast. Bones are drawn in the tiles that they reach, and nowhere else (``tiles``). And the gradient is
written down: an end moves the nearest point of the bone by its share t of it, so it collects
``dL/dbone * bone * 2 t (pixel - nearest point) / sigma^2`` over the pixels, and that t itself changes adds nothing,
because it is at its best. Nothing as large as pixels times bones is ever stored.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from mas_ray.config.cascade import BoneMerge
from mas_ray.config.stage import StageConfig
from mas_ray.rendering.segment_distance import BoneFrames, PixelTerms, bone_frames, pixel_terms
from mas_ray.rendering.tiles import Rounds, TileGrid, plan_rounds, take_tiles
from mas_ray.skeleton import Skeleton

_TILE_SIDE = 8
"""Small tiles waste few pixels, large ones need few steps. Of 4, 8 and 16 the fastest on maps of 64 to 256 pixels."""

_CPU_PIECE, _GPU_PIECE = 480, 2**16
"""Bones of tiles taken at a time going back. On a CPU their numbers stay in its cache, and below the 128 KiB from
which memory comes from the system anew."""

_UNDRAWN: dict[BoneMerge, float] = {"max": math.inf, "clamped_sum": 0.0, "noisy_or": 1.0}
"""Where merging starts: no squared distance, no sum, all free."""


def skeleton_mask(
    keypoints_ndc: Float[Tensor, "*batch joints 2"],
    bones: Int[Tensor, "bones 2"],
    bone_widths: Float[Tensor, " bones"],
    *,
    size: int,
    merge: BoneMerge = "max",
) -> Float[Tensor, "*batch height width"]:
    """Draw the bones on a ``size`` x ``size`` map.

    Values below the precision of the numbers are drawn as 0. The gradient is always finite; that of a bone of length
    zero is shared evenly by its ends. It is not differentiable twice.

    Args:
        keypoints_ndc: 2D joint positions, on the map or off it. Where a bone ends in a number that is not finite, or
            whose square is not, the whole map is NaN.
        bones: Joint index pairs.
        bone_widths: Sigma of each bone in NDC: the bone falls to exp(-1) at that distance.
        size: Side of the map in pixels.
        merge: How bones that meet in a pixel make its value.
    """
    keypoints = keypoints_ndc.reshape(-1, *keypoints_ndc.shape[-2:])
    keypoints = keypoints.to(torch.promote_types(keypoints.dtype, torch.float32))
    mask = _Drawing.apply(keypoints[:, bones], bone_widths.to(keypoints), size, merge)
    return mask.to(keypoints_ndc.dtype).reshape(*keypoints_ndc.shape[:-2], size, size)


def stage_bones(stage: StageConfig, skeleton: Skeleton) -> tuple[Int[Tensor, "bones 2"], Float[Tensor, " bones"]]:
    """The joint pairs that a stage draws and the width of each."""
    widths = [stage.arm_bone_width if arm else stage.bone_width for arm in skeleton.is_arm_bone(stage.bone_set)]
    return torch.tensor(skeleton.bones(stage.bone_set)), torch.tensor(widths)


class _Drawing(torch.autograd.Function):
    """Bones, given by their two ends, to masks."""

    @staticmethod
    def forward(
        ctx: Any,
        ends_ndc: Float[Tensor, "batch bones 2 2"],
        widths: Float[Tensor, " bones"],
        size: int,
        merge: BoneMerge,
    ) -> Float[Tensor, "batch size size"]:
        number = torch.finfo(widths.dtype)
        grid = TileGrid(size=size, side=_TILE_SIDE)
        frames = bone_frames(ends_ndc, widths)
        reach = math.sqrt(-math.log(number.eps))
        rounds = plan_rounds(grid, frames, widths=widths, reach=reach, nearest_only=merge == "max")
        frames = BoneFrames(*(field.flatten(0, 1) for field in frames))
        terms = pixel_terms(frames.take(rounds.bones), rounds.x, rounds.y)
        merged, winner = _merge(rounds, terms, merge)
        ctx.save_for_backward(winner if merge == "max" else merged)
        ctx.plan = grid, frames, rounds, terms, _acting(rounds, winner, merge), merge
        ctx.ends_shape = ends_ndc.shape
        tiles = merged.new_zeros(grid.side, grid.side, len(ends_ndc) * grid.num_along**2)
        tiles.flatten(0, 1).index_copy_(1, rounds.tiles, _value(merge, merged).flatten(0, 1))
        is_drawable = (ends_ndc.abs() < math.sqrt(number.max)).flatten(1).all(1)
        return grid.join(tiles).masked_fill(~is_drawable[:, None, None], torch.nan)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, mask_gradient: Float[Tensor, "batch size size"]
    ) -> tuple[Float[Tensor, "batch bones 2 2"], None, None, None]:
        grid, frames, rounds, terms, acting, merge = ctx.plan
        (decisive,) = ctx.saved_tensors
        piece = _CPU_PIECE if decisive.device.type == "cpu" else _GPU_PIECE
        gradient = take_tiles(grid.cut(mask_gradient), rounds.tiles)
        num_tiles = grid.num_along**2
        # Every bone of every tile has its own place, so that the sum over tiles has one order and repeats exactly.
        sums = decisive.new_zeros(len(frames.half_length), num_tiles, 4)
        for some in acting.split(piece):
            place = rounds.places[some]
            offset = terms.take(some).offsets()
            squared = offset.squared_distance()
            slope = _slope(merge, squared, take_tiles(decisive, place), rounds.ranks[some])
            pull = take_tiles(gradient, place).mul_(slope).mul_(squared.neg_().exp_())
            along, across = pull * offset.along, pull * offset.across
            moments = along, across, along * offset.nearest, across * offset.nearest
            of_tile = torch.stack([moment.sum((0, 1)) for moment in moments], 1)
            sums[rounds.bones[some], rounds.tiles[place] % num_tiles] = of_tile
        # Moving an end moves the nearest point by half of 1 - or + nearest / half_length: a shift less or plus a turn.
        along, across, along_moment, across_moment = sums.sum(1).unsqueeze(-1).unbind(1)
        axis, lever = frames.axis, frames.half_length.clamp_min(torch.finfo(decisive.dtype).tiny).unsqueeze(-1)
        normal = torch.stack([axis[:, 1], -axis[:, 0]], -1)
        shift, turn = along * axis + across * normal, (along_moment * axis + across_moment * normal) / lever
        return torch.stack([shift - turn, shift + turn], 1).reshape(ctx.ends_shape), None, None, None


# Comparisons below stay floating-point numbers, 0 or 1: choosing by booleans is several times slower on a CPU.


def _merge(
    rounds: Rounds, terms: PixelTerms, merge: BoneMerge
) -> tuple[Float[Tensor, "side side tiles"], Float[Tensor, "side side tiles"]]:
    """What the bones of each tile come to, before ``_value``; and the round of the nearest bone, for the maximum."""
    side = len(rounds.x)
    merged = rounds.x.new_full((side, side, len(rounds.tiles)), _UNDRAWN[merge])
    winner = torch.zeros_like(merged)
    for r, (of_round, length) in enumerate(zip(terms.split(rounds.lengths), rounds.lengths, strict=True)):
        squared = of_round.offsets().squared_distance()
        here, nearest = merged[..., :length], winner[..., :length]
        if merge == "max":
            torch.maximum(nearest, squared.clone().lt_(here).mul_(r), out=nearest)
            torch.minimum(here, squared, out=here)
        elif merge == "clamped_sum":
            here += squared.neg_().exp_()
        else:
            here *= squared.neg_().expm1_().neg_()
    return merged, winner


def _acting(rounds: Rounds, winner: Float[Tensor, "side side tiles"], merge: BoneMerge) -> Int[Tensor, " acting"]:
    """The drawn bones that any pixel of their tile depends on: of a maximum, those nearest to some pixel."""
    if merge != "max":
        return torch.arange(len(rounds.bones), device=winner.device)
    wins = [winner[..., :length].clone().eq_(r).flatten(0, 1).amax(0) for r, length in enumerate(rounds.lengths)]
    return torch.cat([*wins, winner.new_zeros(0)]).nonzero().squeeze(1)


def _value(merge: BoneMerge, merged: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The mask: the nearest bone, the sum up to 1, or what is not left free."""
    if merge == "max":
        return torch.exp(-merged)
    return merged.clamp(max=1.0) if merge == "clamped_sum" else 1.0 - merged


def _slope(
    merge: BoneMerge,
    squared: Float[Tensor, "side side drawn"],
    decisive: Float[Tensor, "side side drawn"],
    rank: Float[Tensor, " drawn"],
) -> Float[Tensor, "side side drawn"]:
    """Derivative of the mask by each drawn bone.

    Args:
        merge: How bones are merged.
        squared: Squared distances of the bones.
        decisive: The round of the nearest bone, for the maximum; otherwise what all bones come to. Is overwritten.
        rank: The round of each bone.
    """
    if merge == "max":
        return decisive.eq_(rank)
    if merge == "clamped_sum":
        return decisive.le_(1.0)
    # What the other bones leave free. On the bone itself this is 0 / 0, of no account because the offset is 0.
    return decisive / torch.expm1(-squared).neg_().clamp_min_(torch.finfo(squared.dtype).tiny)
