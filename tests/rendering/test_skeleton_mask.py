import math
from typing import get_args

import pytest
import torch

from mas_ray.config.cascade import BoneMerge, paper_cascade
from mas_ray.geometry.pixel_grid import ndc_from_pixel, pixel_centres_ndc
from mas_ray.rendering.skeleton_mask import skeleton_mask, stage_bones
from mas_ray.skeleton import H36M_18

SIGMA = 0.2
MERGES = get_args(BoneMerge)


def _naive(keypoints, bones, widths, *, size, merge="max"):
    """The printed three-branch distance, with its sign put right, of every bone to every pixel."""
    centres = pixel_centres_ndc(size, dtype=keypoints.dtype)
    pixel = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1)
    drawn = []
    for (i, j), width in zip(bones.tolist(), widths, strict=True):
        a, b = keypoints[..., None, None, i, :], keypoints[..., None, None, j, :]
        r = ((pixel - a) * (b - a)).sum(-1) / (b - a).square().sum(-1).clamp_min(1e-12)
        foot = torch.where((r <= 0)[..., None], a, torch.where((r >= 1)[..., None], b, a + r[..., None] * (b - a)))
        drawn.append(torch.exp(-(pixel - foot).square().sum(-1) / width**2))
    every = torch.stack(drawn)
    if merge == "max":
        return every.amax(0)
    return every.sum(0).clamp(max=1.0) if merge == "clamped_sum" else 1.0 - (1.0 - every).prod(0)


def _random(*shape, seed=0, dtype=torch.float64, spread=1.0):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1).to(
        dtype
    ) * spread


def _gradient(mask, keypoints, seed=1):
    """Of the weighted squared loss, as in training."""
    target, weight = _random(2, *mask.shape, seed=seed, dtype=mask.dtype).abs()
    return torch.autograd.grad((weight * (mask - target).square()).sum(), keypoints)[0]


@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("size", [27, 64])
def test_values_and_gradients_agree_with_the_naive_form(merge, size):
    keypoints = _random(8, 7, 2, spread=1.6)
    keypoints[0, 0] = torch.tensor([40.0, -30.0])
    keypoints[1] = keypoints[1] + 9.0
    keypoints.requires_grad_()
    bones = torch.tensor([[0, 1], [1, 2], [3, 4], [2, 2], [2, 5], [6, 0], [4, 4], [5, 6]])
    widths = _random(len(bones), seed=2).abs() * 0.2 + 0.05
    ours = skeleton_mask(keypoints, bones, widths, size=size, merge=merge)
    naive = _naive(keypoints, bones, widths, size=size, merge=merge)
    torch.testing.assert_close(ours, naive, rtol=0, atol=1e-12)
    torch.testing.assert_close(_gradient(ours, keypoints), _gradient(naive, keypoints), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("merge", MERGES)
def test_gradcheck(merge):
    keypoints = _random(2, 5, 2, spread=1.2).requires_grad_()
    bones, widths = torch.tensor([[0, 1], [1, 2], [3, 4], [2, 2]]), torch.tensor([0.2, 0.1, 0.15, 0.3])
    assert torch.autograd.gradcheck(
        lambda points: skeleton_mask(points, bones, widths.double(), size=11, merge=merge), (keypoints,)
    )


@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("size", [64, 128])
def test_single_precision_is_near_double_precision(merge, size):
    bones, widths = stage_bones(paper_cascade().stages[2], H36M_18)
    points = _random(6, 18, 2, spread=0.8).requires_grad_()
    single = points.detach().float().requires_grad_()
    mask = skeleton_mask(points, bones, widths, size=size, merge=merge)
    single_mask = skeleton_mask(single, bones, widths, size=size, merge=merge)
    assert float((single_mask - mask).detach().abs().max()) < 1e-5
    gradient = _gradient(mask, points)
    assert float((_gradient(single_mask, single) - gradient).abs().max() / gradient.abs().max()) < 1e-4


def _row_line(start_x, end_x, row, size):
    """Two joints on the centres of a row of pixels."""
    return torch.tensor(
        [[start_x, ndc_from_pixel(torch.tensor(row), size)], [end_x, ndc_from_pixel(torch.tensor(row), size)]]
    )


@pytest.mark.parametrize("merge", MERGES)
def test_one_on_the_bone_and_a_third_at_sigma(merge):
    sigma = 8 * 2 / 65
    mask = skeleton_mask(
        _row_line(-0.5, 0.5, 32.0, 65), torch.tensor([[0, 1]]), torch.tensor([sigma]), size=65, merge=merge
    )
    torch.testing.assert_close(mask[32, 17:48], torch.ones(31))
    assert float(mask[40, 32]) == pytest.approx(math.exp(-1), rel=1e-4)


def test_merging_two_bones_that_lie_on_each_other():
    bones, widths = torch.tensor([[0, 1], [1, 0]]), torch.tensor([SIGMA, SIGMA])
    keypoints = _random(2, 2, dtype=torch.float32, spread=0.6)
    one = skeleton_mask(keypoints, bones[:1], widths[:1], size=32)
    merged = {merge: skeleton_mask(keypoints, bones, widths, size=32, merge=merge) for merge in MERGES}
    torch.testing.assert_close(merged["max"], one)
    torch.testing.assert_close(merged["clamped_sum"], (2 * one).clamp(max=1.0))
    torch.testing.assert_close(merged["noisy_or"], 1 - (1 - one).square(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("merge", MERGES)
def test_degenerate_bone_is_a_blob_that_pulls_both_ends_alike(merge):
    keypoints = torch.zeros(2, 2, requires_grad=True)
    mask = skeleton_mask(keypoints, torch.tensor([[0, 1]]), torch.tensor([SIGMA]), size=16, merge=merge)
    centres = pixel_centres_ndc(16)
    blob = torch.exp(-(centres[None] ** 2 + centres[:, None] ** 2) / SIGMA**2)
    torch.testing.assert_close(mask, blob)
    (gradient,) = torch.autograd.grad(mask[9:].sum(), keypoints)
    assert torch.equal(gradient[0], gradient[1])
    point = torch.zeros(1, 2, requires_grad=True)
    alone = skeleton_mask(point, torch.tensor([[0, 0]]), torch.tensor([SIGMA]), size=16, merge=merge)
    torch.testing.assert_close(torch.autograd.grad(alone[9:].sum(), point)[0][0], gradient.sum(0))
    assert float(gradient[0, 1]) > 0.1


@pytest.mark.parametrize("merge", MERGES)
def test_all_joints_in_one_place(merge):
    bones, widths = stage_bones(paper_cascade().stages[0], H36M_18)
    keypoints = torch.zeros(2, 18, 2, requires_grad=True)
    mask = skeleton_mask(keypoints, bones, widths, size=65, merge=merge)
    assert float(mask.detach()[0, 32, 32]) == 1.0
    assert torch.isfinite(_gradient(mask, keypoints)).all()


@pytest.mark.parametrize("merge", MERGES)
def test_order_of_the_ends_and_names_of_the_sides_do_not_matter(merge):
    keypoints = _random(18, 2, dtype=torch.float32, spread=0.8)
    bones, widths = stage_bones(paper_cascade().stages[2], H36M_18)
    mask = skeleton_mask(keypoints, bones, widths, size=64, merge=merge)
    assert torch.equal(skeleton_mask(keypoints, bones.flip(-1), widths, size=64, merge=merge), mask)
    mirrored = keypoints[list(H36M_18.mirror_permutation)]
    torch.testing.assert_close(skeleton_mask(mirrored, bones, widths, size=64, merge=merge), mask)


@pytest.mark.parametrize("batch", [(), (2,), (1, 2), (0,)])
def test_batch_axes(batch):
    keypoints = _random(*batch, 18, 2, dtype=torch.float32, spread=0.8).requires_grad_()
    bones, widths = stage_bones(paper_cascade().stages[0], H36M_18)
    masks = skeleton_mask(keypoints, bones, widths, size=32)
    assert masks.shape == (*batch, 32, 32)
    gradient = torch.autograd.grad(masks.square().sum(), keypoints)[0].reshape(-1, 18, 2)
    for index, points in enumerate(keypoints.reshape(-1, 18, 2)):
        one = skeleton_mask(points, bones, widths, size=32)
        torch.testing.assert_close(masks.reshape(-1, 32, 32)[index], one)
        torch.testing.assert_close(gradient[index], torch.autograd.grad(one.square().sum(), points)[0])


@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("far", [30.0, 1e6, -1e12, 1e18])
def test_far_joints_are_finite_and_leave_the_rest_alone(merge, far):
    bones, widths = torch.tensor([[0, 1], [2, 3], [4, 4]]), torch.full((3,), SIGMA)
    keypoints = _random(5, 2, dtype=torch.float32, spread=0.5)
    keypoints[2:] = torch.tensor([[far, 0.3 * far], [1.1 * far, 0.0], [0.0, far]])
    keypoints.requires_grad_()
    mask = skeleton_mask(keypoints, bones, widths, size=32, merge=merge)
    torch.testing.assert_close(mask, skeleton_mask(keypoints, bones[:1], widths[:1], size=32, merge=merge))
    gradient = _gradient(mask, keypoints)
    assert torch.isfinite(gradient).all()
    assert (gradient[2:] == 0).all()
    across_the_map = skeleton_mask(keypoints, torch.tensor([[0, 2], [3, 4]]), widths[:2], size=32, merge=merge)
    assert torch.isfinite(across_the_map).all()
    assert torch.isfinite(_gradient(across_the_map, keypoints)).all()


@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("broken", [math.nan, math.inf, 1e30])
def test_a_joint_that_is_not_a_number_breaks_its_map_alone(merge, broken):
    bones, widths = torch.tensor([[0, 1], [1, 2]]), torch.full((2,), SIGMA)
    keypoints = _random(3, 4, 2, dtype=torch.float32, spread=0.5)
    whole = skeleton_mask(keypoints, bones, widths, size=32, merge=merge)
    keypoints[0, 3, 0] = broken  # no bone ends there
    keypoints[1, 2, 1] = broken
    mask = skeleton_mask(keypoints, bones, widths, size=32, merge=merge)
    assert mask[1].isnan().all()
    torch.testing.assert_close(mask[::2], whole[::2])


def test_an_empty_map_has_no_gradient():
    keypoints = torch.full((2, 3, 2), 7.0, requires_grad=True)
    mask = skeleton_mask(keypoints, torch.tensor([[0, 1], [1, 2]]), torch.full((2,), SIGMA), size=16)
    assert (mask == 0).all()
    assert (_gradient(mask, keypoints) == 0).all()


@pytest.mark.parametrize("merge", MERGES)
def test_it_repeats_exactly(merge):
    bones, widths = stage_bones(paper_cascade().stages[2], H36M_18)
    keypoints = _random(16, 18, 2, dtype=torch.float32, spread=0.8).requires_grad_()
    masks = [skeleton_mask(keypoints, bones, widths, size=64, merge=merge) for _ in range(3)]
    gradients = [_gradient(mask, keypoints) for mask in masks]
    assert all(torch.equal(mask, masks[0]) for mask in masks)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)


def test_low_precision_is_drawn_in_single_precision():
    bones, widths = stage_bones(paper_cascade().stages[2], H36M_18)
    keypoints = _random(18, 2, dtype=torch.bfloat16, spread=0.8).requires_grad_()
    mask = skeleton_mask(keypoints, bones, widths, size=64)
    exact = skeleton_mask(keypoints.detach().float(), bones, widths, size=64)
    assert torch.equal(mask, exact.bfloat16())
    assert _gradient(mask, keypoints).dtype == torch.bfloat16


def test_a_second_derivative_is_refused():
    keypoints = _random(2, 2).requires_grad_()
    mask = skeleton_mask(keypoints, torch.tensor([[0, 1]]), torch.tensor([SIGMA]), size=8)
    (gradient,) = torch.autograd.grad(mask.square().sum(), keypoints, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
