import pytest
import torch

from mas_ray.geometry import integral
from mas_ray.geometry.integral import soft_argmax
from mas_ray.geometry.pixel_grid import ndc_from_pixel, pixel_centres_ndc, pixel_from_ndc


def _logits(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def _by_definition(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Position and confidence from the expectations of x, y, z, x² and y² over the volume."""
    depth, height, width = logits.shape[-3:]
    probability = logits.flatten(-3).softmax(-1).unflatten(-1, (depth, height, width))

    def expected(value: torch.Tensor) -> torch.Tensor:
        return (probability * value).sum((-3, -2, -1))

    x = pixel_centres_ndc(width, dtype=logits.dtype)
    y = pixel_centres_ndc(height, dtype=logits.dtype)[:, None]
    z = pixel_centres_ndc(depth, dtype=logits.dtype)[:, None, None]
    mean = torch.stack([expected(x), expected(y), expected(z)], dim=-1)
    variance = expected(x**2) + expected(y**2) - mean[..., :2].square().sum(-1)
    return mean, torch.exp(-variance / (2 * 0.2**2))


def test_delta_heatmap_round_trips_to_its_cell():
    cells = {0: (1, 5, 20), 1: (3, 15, 0), 2: (0, 0, 23)}
    logits = torch.full((1, 3, 4, 16, 24), -1e4)
    for joint, cell in cells.items():
        logits[0, joint][cell] = 1e4
    coordinates, confidence = soft_argmax(logits)
    for joint, (z, y, x) in cells.items():
        expected = [ndc_from_pixel(torch.tensor(float(v)), n) for v, n in ((x, 24), (y, 16), (z, 4))]
        torch.testing.assert_close(coordinates[0, joint], torch.stack(expected), atol=1e-5, rtol=0)
        # A cell of the heatmap is a block of four pixels of the image: its centre is between the middle two.
        column = pixel_from_ndc(coordinates[0, joint, 0], 4 * 24)
        row = pixel_from_ndc(coordinates[0, joint, 1], 4 * 16)
        assert float(column) == pytest.approx(4 * x + 1.5, abs=1e-4)
        assert float(row) == pytest.approx(4 * y + 1.5, abs=1e-4)
    torch.testing.assert_close(confidence, torch.ones(1, 3), atol=1e-4, rtol=0)


def test_uniform_heatmap_is_the_centre_and_unsure():
    coordinates, confidence = soft_argmax(torch.zeros(3, 2, 4, 8, 8))
    torch.testing.assert_close(coordinates, torch.zeros(3, 2, 3), atol=1e-6, rtol=0)
    assert (confidence < 1e-3).all()


def test_a_shifted_heatmap_is_a_shifted_position():
    logits = torch.full((1, 1, 12, 14, 16), -40.0, dtype=torch.float64)
    logits[..., 3:6, 4:8, 2:7] = _logits(3, 4, 5)
    shifted = torch.roll(logits, (5, -3, 8), (-3, -2, -1))
    (before, confidence), (after, confidence_after) = soft_argmax(logits), soft_argmax(shifted)
    step = torch.tensor([8 * 2 / 16, -3 * 2 / 14, 5 * 2 / 12], dtype=torch.float64)
    torch.testing.assert_close(after - before, step[None, None])
    torch.testing.assert_close(confidence, confidence_after)


@pytest.mark.parametrize("batch", [(), (2,), (1, 2), (0,)])
def test_agrees_with_the_definition(batch):
    logits = _logits(*batch, 3, 4, 6, 5) * 3
    for found, expected in zip(soft_argmax(logits), _by_definition(logits), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("volumes_per_piece", [1, 2, 100])
def test_gradcheck(monkeypatch, volumes_per_piece):
    monkeypatch.setattr(integral, "_CPU_PIECE", volumes_per_piece * 3 * 4 * 5)
    logits = _logits(1, 3, 3, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(soft_argmax, (logits,))


def test_float32_agrees_with_float64():
    single = (_logits(2, 3, 16, 32, 32, dtype=torch.float32) * 4).requires_grad_()
    double = single.detach().double().requires_grad_()
    pull = _logits(2, 3, 3)
    for logits in (single, double):
        coordinates, confidence = soft_argmax(logits)
        ((coordinates * pull).sum() + confidence.sum()).backward()
    torch.testing.assert_close(soft_argmax(single)[0].double(), soft_argmax(double)[0], atol=1e-5, rtol=0)
    assert (single.grad - double.grad).abs().max() < 1e-5 * double.grad.abs().max()


def test_is_exact_under_autocast():
    logits = (_logits(2, 3, 16, 32, 32, dtype=torch.float32) * 4).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coordinates, confidence = soft_argmax(logits)
    coordinates.sum().backward()
    expected, expected_confidence = soft_argmax(logits.float())
    assert coordinates.dtype == confidence.dtype == torch.float32
    assert logits.grad.dtype == torch.bfloat16
    assert torch.equal(coordinates, expected)
    assert torch.equal(confidence, expected_confidence)


def test_keeps_no_volume_for_the_backward_pass():
    logits = _logits(2, 3, 8, 8, 8).requires_grad_()
    kept = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        soft_argmax(logits)
    assert [t.data_ptr() for t in kept if t.numel() >= logits.numel()] == [logits.data_ptr()]
