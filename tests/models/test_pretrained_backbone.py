import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from mas_ray.config import codec
from mas_ray.config.cascade import paper_cascade
from mas_ray.config.model import BackboneWeights, DetectorConfig
from mas_ray.models.backbone import create_resnet, group_norm, load_backbone
from mas_ray.skeleton import H36M_18
from mas_ray.training.state import create_state


def _randomised(network):
    """Statistics and scales unlike the initial ones, so that a mix-up shows."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                tensor.data.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.bias, module.running_mean):
                tensor.data.normal_(0.0, 0.1, generator=generator)
    return network


def _saved(path, weights):
    torch.save(weights, path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def _torchvision(name):
    torch.manual_seed(0)
    return _randomised(getattr(torchvision.models, name)(weights=None, num_classes=10)).eval()


@pytest.fixture(scope="module")
def resnet18():
    return _torchvision("resnet18")


def _trunk(name="resnet18", norm=group_norm, width=64):
    return create_resnet(name, width, norm)[0].eval()


def _equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_the_features_are_torchvisions(name, tmp_path):
    theirs = _torchvision(name)
    path, digest = _saved(tmp_path / "weights.pth", theirs.state_dict())
    trunk = _trunk(name, nn.BatchNorm2d)
    load_backbone(trunk, path, sha256=digest)
    images = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = nn.Sequential(*list(theirs.children())[:-2])(images)
        scale = expected.abs().max()
        torch.testing.assert_close(trunk(images) / scale, expected / scale, atol=1e-4, rtol=0)
    assert expected.std() > 0.01 * scale


def test_group_norm_stays_and_every_convolution_is_taken(resnet18, tmp_path):
    path, digest = _saved(tmp_path / "weights.pth", resnet18.state_dict())
    trunk = _trunk()
    load_backbone(trunk, path, sha256=digest)
    ours, theirs = (
        [module.weight for module in network.modules() if isinstance(module, nn.Conv2d)]
        for network in (trunk, resnet18)
    )
    assert len(ours) == len(theirs) == 20
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    norms = [module for module in trunk.modules() if isinstance(module, nn.GroupNorm)]
    assert len(norms) == 20
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in norms)


@pytest.mark.parametrize("norm", [group_norm, nn.BatchNorm2d])
def test_a_trunk_of_our_own_is_taken_whole(norm, tmp_path):
    before, after = (_trunk(norm=norm, width=16) for _ in range(2))
    for parameter in before.parameters():
        parameter.data.normal_()
    path, digest = _saved(tmp_path / "weights.pt", before.state_dict())
    load_backbone(after, path, sha256=digest)
    assert _equal(after.state_dict(), before.state_dict())


def _without(name):
    return lambda weights: {key: tensor for key, tensor in weights.items() if key != name}


@pytest.mark.parametrize(
    ("name", "width", "change", "message"),
    [
        ("resnet34", 64, None, r"layer1\.2\.conv1\.weight is missing"),
        ("resnet50", 64, None, r"layer1\.0\.conv1\.weight has shape \(64, 64, 3, 3\), expected \(64, 64, 1, 1\)"),
        ("resnet18", 32, None, r"conv1\.weight has shape \(64, 3, 7, 7\), expected \(32, 3, 7, 7\)"),
        ("resnet18", 64, _without("layer3.0.downsample.0.weight"), r"layer3\.0\.downsample\.0\.weight is missing"),
        ("resnet18", 64, _without("layer2.1.bn2.running_var"), r"layer2\.1\.bn2\.running_var is missing"),
        ("resnet18", 64, lambda weights: {"state_dict": weights}, "expected a state dict"),
    ],
)
def test_what_does_not_fit_is_named(name, width, change, message, resnet18, tmp_path):
    weights = resnet18.state_dict()
    path, digest = _saved(tmp_path / "weights.pth", change(weights) if change else weights)
    trunk = _trunk(name, nn.BatchNorm2d, width)
    before = {key: tensor.clone() for key, tensor in trunk.state_dict().items()}
    with pytest.raises(ValueError, match=rf"weights\.pth: {message}") as caught:
        load_backbone(trunk, path, sha256=digest)
    assert "\n" not in str(caught.value)
    assert _equal(trunk.state_dict(), before)


def test_a_deeper_network_is_not_cut_to_fit(tmp_path):
    path, digest = _saved(tmp_path / "weights.pth", _torchvision("resnet34").state_dict())
    with pytest.raises(ValueError, match=r"weights\.pth: layer1\.2\.conv1\.weight has no place in this backbone"):
        load_backbone(_trunk(), path, sha256=digest)


def test_another_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(ValueError, match=r"weights\.pth: cannot be read: No such file"):
        load_backbone(_trunk(width=16), path, sha256="0" * 64)
    path.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=rf"weights\.pth: has SHA-256 \w+, expected {'0' * 64}"):
        load_backbone(_trunk(width=16), path, sha256="0" * 64)
    with pytest.raises(ValueError, match=r"weights\.pth: not a file of tensors"):
        load_backbone(_trunk(width=16), path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_code_in_a_file_is_not_run(tmp_path):
    path, digest = _saved(tmp_path / "weights.pth", {"conv1.weight": Path("code")})
    with pytest.raises(ValueError, match=r"weights\.pth: not a file of tensors"):
        load_backbone(_trunk(width=16), path, sha256=digest)


def test_training_starts_from_the_file_and_nothing_else_changes(tmp_path):
    detector = DetectorConfig(
        backbone="resnet18", width=16, head_width=16, input_size=64, heatmap_size=16, heatmap_depth=4
    )
    cascade = replace(paper_cascade(), detector=detector)
    plain = create_state(cascade, H36M_18, torch.device("cpu"))
    before = _trunk(width=16).state_dict()
    path, digest = _saved(tmp_path / "weights.pt", before)
    detector = replace(detector, backbone_weights=BackboneWeights(path=str(path), sha256=digest))
    loaded = create_state(replace(cascade, detector=detector), H36M_18, torch.device("cpu"))
    trunk, head = loaded.detector.features
    assert _equal(trunk.state_dict(), before)
    assert not _equal(trunk.state_dict(), plain.detector.features[0].state_dict())
    assert _equal(head.state_dict(), plain.detector.features[1].state_dict())
    assert _equal(loaded.shape_prior.state_dict(), plain.shape_prior.state_dict())


def test_the_config_names_a_file_for_resnets_only():
    weights = BackboneWeights(path="/weights.pth", sha256="0")
    config = DetectorConfig(backbone_weights=weights)
    assert codec.loads(DetectorConfig, codec.dumps(config)) == config
    with pytest.raises(ValueError, match="backbone_weights: expected none for tiny"):
        replace(config, backbone="tiny", heatmap_size=128)
    with pytest.raises(ValueError, match=r"backbone_weights\.path: expected an absolute path, got 'weights.pth'"):
        codec.loads(DetectorConfig, codec.dumps(config).replace('"/weights.pth"', '"weights.pth"'))
