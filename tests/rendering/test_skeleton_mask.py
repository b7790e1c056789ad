import math

import pytest
import torch

from mas_ray.config.cascade import paper_cascade
from mas_ray.geometry.pixel_grid import ndc_from_pixel, pixel_centres_ndc
from mas_ray.rendering.segment_distance import squared_distance
from mas_ray.rendering.skeleton_mask import skeleton_mask, stage_bones
from mas_ray.skeleton import H36M_18

SIGMA = 0.2


def _naive(keypoints, bones, sigma, size):
    """The printed three-branch distance, with its sign put right, pixel by pixel."""
    mask = torch.zeros(size, size, dtype=keypoints.dtype)
    centres = pixel_centres_ndc(size, dtype=keypoints.dtype)
    for row in range(size):
        for column in range(size):
            p = torch.stack([centres[column], centres[row]])
            values = []
            for (i, j), width in zip(bones, sigma, strict=True):
                a, b = keypoints[i], keypoints[j]
                length = (b - a).square().sum()
                r = ((p - a) * (b - a)).sum() / length if length > 0 else torch.zeros(())
                foot = a if r <= 0 else b if r >= 1 else a + r * (b - a)
                values.append(torch.exp(-(p - foot).square().sum() / width**2))
            mask[row, column] = max(values)
    return mask


def test_values_and_gradients_agree_with_the_naive_form():
    generator = torch.Generator().manual_seed(3)
    keypoints = (torch.rand(5, 2, dtype=torch.float64, generator=generator) * 1.6 - 0.8).requires_grad_()
    bones, widths = [(0, 1), (1, 2), (3, 4), (2, 2)], [0.2, 0.1, 0.15, 0.3]
    target = torch.rand(12, 12, dtype=torch.float64, generator=generator)
    ours = skeleton_mask(keypoints, torch.tensor(bones), torch.tensor(widths, dtype=torch.float64), size=12)
    naive = _naive(keypoints, bones, widths, 12)
    torch.testing.assert_close(ours, naive)
    (mine,) = torch.autograd.grad((ours - target).square().sum(), keypoints)
    (reference,) = torch.autograd.grad((naive - target).square().sum(), keypoints)
    torch.testing.assert_close(mine, reference)


def test_one_on_the_bone_and_a_third_at_sigma():
    on_row = ndc_from_pixel(torch.tensor(32.0), 65)
    keypoints = torch.stack([torch.stack([torch.tensor(-0.5), on_row]), torch.stack([torch.tensor(0.5), on_row])])
    sigma = 8 * 2 / 65
    mask = skeleton_mask(keypoints, torch.tensor([[0, 1]]), torch.tensor([sigma]), size=65)
    assert float(mask[32, 32]) == pytest.approx(1.0)
    assert float(mask[40, 32]) == pytest.approx(math.exp(-1), rel=1e-4)


def test_degenerate_bone_is_a_blob_with_a_finite_gradient():
    keypoints = torch.zeros(2, 2, requires_grad=True)
    mask = skeleton_mask(keypoints, torch.tensor([[0, 1]]), torch.tensor([SIGMA]), size=16)
    centres = pixel_centres_ndc(16)
    blob = torch.exp(-(centres[None] ** 2 + centres[:, None] ** 2) / SIGMA**2)
    torch.testing.assert_close(mask, blob)
    mask[3:].sum().backward()
    assert torch.isfinite(keypoints.grad).all()


def test_order_of_the_ends_and_names_of_the_sides_do_not_matter():
    keypoints = torch.rand(18, 2, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    bones, widths = stage_bones(paper_cascade().stages[2], H36M_18)
    mask = skeleton_mask(keypoints, bones, widths, size=64)
    torch.testing.assert_close(skeleton_mask(keypoints, bones.flip(-1), widths, size=64), mask)
    mirrored = keypoints[list(H36M_18.mirror_permutation)]
    torch.testing.assert_close(skeleton_mask(mirrored, bones, widths, size=64), mask)


@pytest.mark.parametrize("batch", [(), (2,), (1, 2)])
def test_batch_axes(batch):
    keypoints = torch.rand(*batch, 18, 2, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    bones, widths = stage_bones(paper_cascade().stages[0], H36M_18)
    masks = skeleton_mask(keypoints, bones, widths, size=32)
    for one, points in zip(masks.reshape(-1, 32, 32), keypoints.reshape(-1, 18, 2), strict=True):
        torch.testing.assert_close(one, skeleton_mask(points, bones, widths, size=32))


def test_squared_distance_gradcheck():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 6, dtype=torch.float64, generator=generator)
    start, end = torch.rand(2, 6, 2, dtype=torch.float64, generator=generator)
    inputs = tuple(tensor.requires_grad_() for tensor in (x, y, start, end))
    assert torch.autograd.gradcheck(squared_distance, inputs)
