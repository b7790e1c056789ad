import pytest
import torch

from mas_ray.rendering.segment_distance import bone_frames, bone_offsets

SIGMA = 0.1


def _three_branches(x, y, start, end):
    """Eq. 16, with the sign of Eq. 17 put right, of one pixel and one bone."""
    p, bone = torch.stack([x, y]), end - start
    length_squared = bone.square().sum()
    r = ((p - start) * bone).sum() / length_squared if length_squared > 0 else torch.zeros(())
    if r <= 0:
        return (p - start).square().sum()
    return (p - end).square().sum() if r >= 1 else (p - (start + r * bone)).square().sum()


def test_one_clamp_is_the_three_branches():
    generator = torch.Generator().manual_seed(0)
    ends = torch.rand(6, 2, 2, generator=generator) * 2 - 1
    ends[5, 1] = ends[5, 0]
    x, y = torch.rand(2, 7, generator=generator) * 2 - 1
    frames = bone_frames(ends, torch.full((6,), SIGMA))
    squared = bone_offsets(frames, x[:, None], y[:, None]).squared_distance() * SIGMA**2
    for row, column, bone in torch.cartesian_prod(torch.arange(7), torch.arange(7), torch.arange(6)).tolist():
        expected = _three_branches(x[column], y[row], *ends[bone])
        assert float(squared[row, column, bone]) == pytest.approx(float(expected), abs=2e-6)


@pytest.mark.parametrize("length", [0.0, 1e-40, 1e-25, 1e-6, 1.0, 1e6, 1e18])
def test_a_direction_is_a_direction_at_every_length(length):
    ends = torch.tensor([[[0.0, 0.0], [0.6 * length, -0.8 * length]]])
    frames = bone_frames(ends, torch.tensor([SIGMA]))
    assert float(frames.axis.norm()) == pytest.approx(1 / SIGMA, rel=1e-5)
    assert float(frames.half_length) == pytest.approx(length / 2 / SIGMA, rel=1e-5, abs=1e-30)


def test_offsets_point_from_the_nearest_point():
    frames = bone_frames(torch.tensor([[[-0.5, 0.0], [0.5, 0.0]]]), torch.tensor([SIGMA]))
    offset = bone_offsets(frames, torch.tensor([[0.2], [0.8]]), torch.tensor([[0.3]]))
    torch.testing.assert_close(offset.along[0, :, 0], torch.tensor([0.0, 0.3]) / SIGMA)
    torch.testing.assert_close(offset.across[0, :, 0].abs(), torch.tensor([0.3, 0.3]) / SIGMA)
    torch.testing.assert_close(offset.nearest[0, :, 0], torch.tensor([0.2, 0.5]) / SIGMA)
