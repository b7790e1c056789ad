import torch

from mas_ray.geometry.affine import apply_affine, invert_affine, random_affines, warp_images
from mas_ray.geometry.pixel_grid import ndc_from_pixel


def test_inverse_undoes():
    affine = random_affines(5, 0.2, torch.Generator().manual_seed(0))
    points = torch.rand(5, 7, 2)
    torch.testing.assert_close(apply_affine(invert_affine(affine), apply_affine(affine, points)), points)


def test_a_point_moves_with_its_image():
    size = 65
    image = torch.zeros(1, 1, size, size)
    image[0, 0, 20, 40] = 1.0
    input_from_output = torch.tensor([[[0.9, 0.1, 0.05], [-0.1, 1.0, -0.08]]])
    warped = warp_images(image, input_from_output)[0, 0]
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centre = torch.stack([(warped * columns).sum(), (warped * rows).sum()]) / warped.sum()
    expected = ndc_from_pixel(torch.tensor([[40.0, 20.0]]), size)
    found = apply_affine(input_from_output[0], ndc_from_pixel(centre[None], size))
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0)
