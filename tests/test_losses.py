import pytest
import torch

from mas_ray import losses
from mas_ray.skeleton import H36M_18


def _keypoints(*batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(*batch, 18, 2, dtype=torch.float64, generator=generator) * 1.4 - 0.7


def _mirrored(keypoints: torch.Tensor) -> torch.Tensor:
    return keypoints[..., list(H36M_18.mirror_permutation), :]


ONES = torch.ones((), dtype=torch.float64)
TARGET = _keypoints().flip(0)


@pytest.mark.parametrize(
    "loss",
    [
        lambda k: losses.bone_length(k, ONES * 1.7, H36M_18),
        lambda k: losses.symmetry(k, H36M_18),
        lambda k: losses.spine_midpoint(k, H36M_18),
        lambda k: losses.tied_limbs(k, H36M_18),
        lambda k: losses.equivariance(k, TARGET),
        lambda k: losses.anchor(k, TARGET, torch.arange(18.0, dtype=torch.float64)),
        lambda k: losses.consistency(k, TARGET),
        lambda k: losses.depth(k[..., 0], TARGET[..., 1]),
        lambda k: losses.limb_equality(torch.cat([k, k[..., :1]], dim=-1) * 300, H36M_18),
    ],
)
def test_gradcheck(loss):
    assert torch.autograd.gradcheck(loss, (_keypoints().requires_grad_(),))


def test_mask_reconstruction_is_the_weighted_mean_square():
    drawn, mask = torch.tensor([[0.5, 1.0], [0.0, 0.0]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    weight = torch.tensor([[2.0, 9.0], [9.0, 0.5]])
    assert float(losses.mask_reconstruction(drawn, mask, weight)) == pytest.approx((2 * 0.25 + 0.5) / 4)


def test_losses_vanish_where_they_should():
    keypoints = _keypoints()
    for middle, pair in (("thorax", "shoulder"), ("pelvis", "hip")):
        left, right = (keypoints[H36M_18.index(f"{side}_{pair}")] for side in ("left", "right"))
        keypoints[H36M_18.index(middle)] = (left + right) / 2
    keypoints[H36M_18.index("spine")] = (keypoints[H36M_18.index("pelvis")] + keypoints[H36M_18.index("thorax")]) / 2
    for name in ("elbow", "wrist"):
        keypoints[H36M_18.index(f"left_{name}")] = keypoints[H36M_18.index(f"right_{name}")]
    for loss in (losses.symmetry, losses.spine_midpoint, losses.tied_limbs):
        assert float(loss(keypoints, H36M_18)) == pytest.approx(0.0, abs=1e-12)
        assert float(loss(_keypoints(), H36M_18)) > 1e-3


def test_swapping_all_names_changes_no_loss():
    keypoints, mirrored = _keypoints(3), _mirrored(_keypoints(3))
    for loss in (
        lambda k: losses.bone_length(k, torch.full((3,), 1.7, dtype=torch.float64), H36M_18),
        lambda k: losses.symmetry(k, H36M_18),
        lambda k: losses.spine_midpoint(k, H36M_18),
        lambda k: losses.tied_limbs(k, H36M_18),
        lambda k: losses.limb_equality(torch.cat([k, k[..., :1]], dim=-1), H36M_18),
    ):
        torch.testing.assert_close(loss(keypoints), loss(mirrored))


def test_targets_pass_no_gradient():
    keypoints, target = _keypoints(), _keypoints().requires_grad_()
    loss = losses.consistency(keypoints, target) + losses.depth(keypoints[..., 0], target[..., 0])
    assert not loss.requires_grad
