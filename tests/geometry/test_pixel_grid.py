import torch
from torch.nn import functional as F

from mas_ray.geometry.pixel_grid import ndc_from_pixel, ndc_from_pixel_matrix, pixel_centres_ndc, pixel_from_ndc


def test_edges_of_the_image_are_plus_and_minus_one():
    edges = ndc_from_pixel(torch.tensor([-0.5, 7.5]), 8)
    torch.testing.assert_close(edges, torch.tensor([-1.0, 1.0]))


def test_round_trip():
    pixel = torch.linspace(-3, 70, 50, dtype=torch.float64)
    torch.testing.assert_close(pixel_from_ndc(ndc_from_pixel(pixel, 64), 64), pixel)


def test_agrees_with_grid_sample():
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    grid = torch.stack(torch.meshgrid(pixel_centres_ndc(3), pixel_centres_ndc(4), indexing="ij")[::-1], dim=-1)
    torch.testing.assert_close(F.grid_sample(image, grid[None], align_corners=False), image)


def test_matrix_is_the_same_map():
    pixel = torch.tensor([3.25, 11.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close((ndc_from_pixel_matrix(16) @ pixel)[:2], ndc_from_pixel(pixel[:2], 16))
