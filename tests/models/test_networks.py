from dataclasses import replace

import pytest
import torch
from torch import nn

from mas_ray.config.cascade import cpu_cascade, paper_cascade
from mas_ray.config.model import DetectorConfig, ShapePriorConfig
from mas_ray.models.backbone import create_resnet, group_norm
from mas_ray.models.detector import create_detector
from mas_ray.models.shape_prior import create_shape_prior
from mas_ray.skeleton import H36M_18


def _millions(module):
    return sum(p.numel() for p in module.parameters()) / 1e6


def test_parameter_counts_of_the_papers_size():
    detector = create_detector(DetectorConfig(), H36M_18)
    trunk, _ = create_resnet("resnet50", 64, group_norm)
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


def test_norm_chooses_the_detectors_layers_and_no_others():
    config = cpu_cascade().detector
    group, batch = (create_detector(replace(config, norm=norm), H36M_18) for norm in ("group", "batch"))
    for detector, used, other in ((group, nn.GroupNorm, nn.BatchNorm2d), (batch, nn.BatchNorm2d, nn.GroupNorm)):
        assert any(isinstance(module, used) for module in detector.modules())
        assert not any(isinstance(module, other) for module in detector.modules())
    assert _millions(batch) == _millions(group)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_after_training_an_image_is_judged_by_itself(norm):
    config = replace(cpu_cascade().detector, norm=norm)
    detector = create_detector(config, H36M_18)
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    images[1:] *= 0.2
    together, alone = (detector(some).keypoints_ndc[0] for some in (images, images[:1]))
    assert torch.allclose(together, alone, atol=1e-5) == (norm == "group")
    detector.eval()
    together, alone = (detector(some).keypoints_ndc[0] for some in (images, images[:1]))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_heatmap_size_must_fit_the_input():
    with pytest.raises(ValueError, match="heatmap_size: resnet50 makes 32 of input_size 128, got 64"):
        DetectorConfig(input_size=128)


def test_shape_prior_makes_masks_of_masks():
    network = create_shape_prior(ShapePriorConfig(widths=(8, 16)))
    found = network(torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert found.shape == (2, 64, 64)
    assert found.min() > 0.0
    assert found.max() < 1.0


@pytest.mark.parametrize("config", [paper_cascade().shape_prior, cpu_cascade().shape_prior])
def test_the_shape_priors_convolutions_see_17_pixels(config):
    """As docs/paper.md has it (2.14): GroupNorm's statistics alone see more.

    The linear layers alone, all weights 1, have a gradient at every pixel that they see.
    """
    layers = create_shape_prior(config).layers
    linear = nn.Sequential(*(layer for layer in layers if isinstance(layer, (nn.Conv2d, nn.Upsample))))
    others = [layer for layer in layers if not isinstance(layer, (nn.Conv2d, nn.Upsample))]
    assert {type(layer) for layer in others} == {nn.GroupNorm, nn.LeakyReLU}
    for parameter in linear.parameters():
        nn.init.ones_(parameter)
    mask = torch.zeros(1, 1, 96, 96, requires_grad=True)
    drawn = linear(mask)[0, 0]
    for row, column in ((48, 48), (49, 48), (50, 51), (51, 49)):
        (gradient,) = torch.autograd.grad(drawn[row, column], mask, retain_graph=True)
        seen = gradient[0, 0].nonzero()
        assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [17, 17]
        assert len(seen) == 17**2
        assert (seen - torch.tensor([row, column])).abs().max() <= 9  # the stride makes it one pixel off the middle


def test_reordered_joints_take_over_each_others_heatmaps():
    detector = create_detector(cpu_cascade().detector, H36M_18).eval()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    before = detector(images)
    detector.reorder_joints(H36M_18.mirror_permutation)
    after = detector(images)
    order = list(H36M_18.mirror_permutation)
    assert torch.equal(after.keypoints_ndc, before.keypoints_ndc[:, order])
    assert torch.equal(after.depth_ndc, before.depth_ndc[:, order])
    assert not torch.equal(after.keypoints_ndc, before.keypoints_ndc)
