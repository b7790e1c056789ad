import torch

from mas_ray.geometry.integral import soft_argmax
from mas_ray.geometry.pixel_grid import ndc_from_pixel, pixel_from_ndc


def test_delta_heatmap_round_trips_to_its_cell():
    logits = torch.full((1, 2, 4, 16, 24), -1e4)
    logits[0, 0, 1, 5, 20] = 1e4
    logits[0, 1, 3, 15, 0] = 1e4
    coordinates, confidence = soft_argmax(logits)
    for joint, (z, y, x) in enumerate([(1, 5, 20), (3, 15, 0)]):
        expected = [ndc_from_pixel(torch.tensor(float(v)), n) for v, n in ((x, 24), (y, 16), (z, 4))]
        torch.testing.assert_close(coordinates[0, joint], torch.stack(expected), atol=1e-5, rtol=0)
        assert abs(float(pixel_from_ndc(coordinates[0, joint, 0], 24)) - x) < 1e-4
    torch.testing.assert_close(confidence, torch.ones(1, 2), atol=1e-4, rtol=0)


def test_uniform_heatmap_is_the_centre_and_unsure():
    coordinates, confidence = soft_argmax(torch.zeros(3, 2, 4, 8, 8))
    torch.testing.assert_close(coordinates, torch.zeros(3, 2, 3), atol=1e-6, rtol=0)
    assert (confidence < 1e-3).all()


def test_gradcheck():
    logits = torch.randn(1, 2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    analytic = torch.autograd.functional.jacobian(lambda v: soft_argmax(v)[0].sum(), logits)
    step = 1e-3
    for index in ((0, 0, 0, 0, 0), (0, 1, 2, 3, 1)):
        bump = torch.zeros_like(logits)
        bump[index] = step
        numeric = (soft_argmax(logits + bump)[0].sum() - soft_argmax(logits - bump)[0].sum()) / (2 * step)
        assert abs(float(analytic[index]) - float(numeric)) < 2e-3  # the softmax runs in float32
