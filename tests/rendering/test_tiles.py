import pytest
import torch

from mas_ray.geometry.pixel_grid import pixel_centres_ndc
from mas_ray.rendering.segment_distance import bone_frames, bone_offsets
from mas_ray.rendering.tiles import TileGrid, plan_rounds


@pytest.mark.parametrize(("size", "side"), [(16, 8), (17, 8), (5, 8), (24, 3)])
def test_join_undoes_cut(size, side):
    grid = TileGrid(size=size, side=side)
    maps = torch.rand(3, size, size)
    assert torch.equal(grid.join(grid.cut(maps)), maps)


def test_cut_and_centres_agree():
    grid = TileGrid(size=20, side=8)
    x = pixel_centres_ndc(20)
    tiles = grid.cut((10 * x[:, None] + x[None, :])[None])
    centres = grid.centres_ndc(x)
    row, column = 1, 0
    expected = 10 * centres[:, row, None] + centres[None, :, column]
    torch.testing.assert_close(tiles[:, :, row * grid.num_along + column], expected)


@pytest.mark.parametrize("nearest_only", [False, True])
def test_every_bone_that_reaches_a_pixel_is_drawn_once_in_its_tile(nearest_only):
    generator = torch.Generator().manual_seed(0)
    widths = torch.tensor([0.05, 0.1, 0.2, 0.07, 0.07])
    frames = bone_frames(torch.rand(4, 5, 2, 2, generator=generator) * 3 - 1.5, widths)
    grid, reach = TileGrid(size=30, side=8), 2.0
    rounds = plan_rounds(grid, frames, widths=widths, reach=reach, nearest_only=nearest_only)
    planned = list(zip(rounds.tiles[rounds.places].tolist(), rounds.bones.tolist(), strict=True))
    assert len(set(planned)) == len(planned)
    assert all(tile // grid.num_along**2 == bone // len(widths) for tile, bone in planned)
    x = pixel_centres_ndc(30)[:, None, None]
    distance = bone_offsets(frames, x, x).squared_distance().sqrt()
    wanted = distance < reach
    if nearest_only:
        wanted &= distance <= distance.amin(-1, keepdim=True)
    for row, column, image, bone in wanted.nonzero().tolist():
        tile = (image * grid.num_along + row // 8) * grid.num_along + column // 8
        assert (tile, image * len(widths) + bone) in planned
    assert len(planned) < grid.num_along**2 * frames.half_length.numel() / 2
