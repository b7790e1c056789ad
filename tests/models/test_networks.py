import pytest
import torch

from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.model import DetectorConfig, ShapePriorConfig
from mas_ray.models.backbone import create_resnet
from mas_ray.models.detector import create_detector
from mas_ray.models.shape_prior import create_shape_prior
from mas_ray.skeleton import H36M_18


def _millions(module):
    return sum(p.numel() for p in module.parameters()) / 1e6


def test_parameter_counts_of_the_papers_size():
    detector = create_detector(DetectorConfig(), H36M_18)
    trunk, _ = create_resnet("resnet50", 64)
    assert _millions(trunk) == pytest.approx(23.51, abs=0.005)
    assert _millions(detector) - _millions(trunk) == pytest.approx(10.78, abs=0.005)
    assert _millions(create_shape_prior(ShapePriorConfig(widths=(32, 64, 128)))) == pytest.approx(0.417, abs=0.001)


@pytest.mark.parametrize(
    "config",
    [
        cpu_cascade().detector,
        DetectorConfig(backbone="resnet18", width=16, head_width=32, input_size=64, heatmap_size=16, heatmap_depth=4),
    ],
)
def test_a_fresh_detector_looks_at_the_middle_and_learns_everywhere(config):
    detector = create_detector(config, H36M_18)
    detection = detector(torch.rand(2, 3, config.input_size, config.input_size))
    assert detection.keypoints_ndc.abs().max() < 0.2
    (detection.keypoints_ndc.sum() + detection.depth_ndc.square().sum()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in detector.parameters())


def test_heatmap_size_must_fit_the_input():
    with pytest.raises(ValueError, match="heatmap_size: resnet50 makes 32 of input_size 128, got 64"):
        DetectorConfig(input_size=128)


def test_shape_prior_is_a_mask_and_sees_only_nearby():
    network = create_shape_prior(ShapePriorConfig(widths=(8, 16))).eval()
    empty, dot = torch.zeros(1, 64, 64), torch.zeros(1, 64, 64)
    dot[0, 32, 32] = 1.0
    # GroupNorm's statistics see the whole map; the convolutions alone reach 8 pixels and a bit.
    for module in network.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.forward = lambda x: x
    difference = (network(dot) - network(empty))[0].abs()
    reached = difference.nonzero()
    assert len(reached) > 0
    assert (reached - 32).abs().max() <= 12
