import pytest
import torch

from mas_ray import losses
from mas_ray.skeleton import H36M_18


def _keypoints(*batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(*batch, 18, 2, dtype=torch.float64, generator=generator) * 1.4 - 0.7


def _mirrored(keypoints: torch.Tensor) -> torch.Tensor:
    return keypoints[..., list(H36M_18.mirror_permutation), :]


def _maps(seed: int) -> torch.Tensor:
    return torch.rand(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _in_space_mm(keypoints: torch.Tensor) -> torch.Tensor:
    return torch.cat([keypoints, keypoints[..., :1]], dim=-1) * 300


def _at(positions: dict[str, tuple[float, ...]], axes: int = 2) -> torch.Tensor:
    """All joints at the origin but for these."""
    joints = torch.zeros(18, axes, dtype=torch.float64)
    for name, position in positions.items():
        joints[H36M_18.index(name)] = torch.tensor(position, dtype=torch.float64)
    return joints


def _huber(distance: float) -> float:
    """Half the square up to a twentieth of the crop's half-width, from there on a twentieth of the distance."""
    return distance**2 / 2 if distance <= 0.05 else 0.05 * (distance - 0.025)


TARGET = _keypoints().flip(0)
OF_KEYPOINTS = {
    "bone_length": lambda k: losses.bone_length(k, k.new_tensor(1.7), H36M_18),
    "symmetry": lambda k: losses.symmetry(k, H36M_18),
    "spine_midpoint": lambda k: losses.spine_midpoint(k, H36M_18),
    "tied_limbs": lambda k: losses.tied_limbs(k, H36M_18),
    "equivariance": lambda k: losses.equivariance(k, TARGET.to(k)),
    "equivariance, other branch": lambda k: losses.equivariance(TARGET.to(k), k),
    "anchor": lambda k: losses.anchor(k, TARGET.to(k), torch.arange(18.0).to(k)),
    "agreement": lambda k: losses.agreement(k, TARGET.to(k)),
    "agreement, near": lambda k: losses.agreement(k, 0.97 * _keypoints().to(k)),
    "depth": lambda k: losses.depth(k[..., 0], 2 * TARGET[..., 1].to(k)),
    "depth, near": lambda k: losses.depth(k[..., 0], 0.97 * _keypoints()[..., 0].to(k)),
    "limb_equality": lambda k: losses.limb_equality(_in_space_mm(k), H36M_18),
    "leg_proportions": lambda k: losses.leg_proportions(_in_space_mm(k), H36M_18),
}
OF_MAPS = {
    "mask_reconstruction": lambda m: losses.mask_reconstruction(m, _maps(1).to(m), 30 * _maps(2).to(m)),
    "mask_reconstruction, of the weight": lambda m: losses.mask_reconstruction(_maps(3).to(m), _maps(1).to(m), 30 * m),
}
CASES = [(loss, _keypoints()) for loss in OF_KEYPOINTS.values()] + [(loss, _maps(0)) for loss in OF_MAPS.values()]
IDS = [*OF_KEYPOINTS, *OF_MAPS]


@pytest.mark.parametrize(("loss", "values"), CASES, ids=IDS)
def test_gradcheck(loss, values):
    assert torch.autograd.gradcheck(loss, (values.clone().requires_grad_(),))


@pytest.mark.parametrize(("loss", "values"), CASES, ids=IDS)
def test_float32_agrees_with_float64(loss, values):
    results, gradients = [], []
    for dtype in (torch.float32, torch.float64):
        leaf = values.float().to(dtype).requires_grad_()
        result = loss(leaf)
        (gradient,) = torch.autograd.grad(result, leaf)
        results.append(result.detach())
        gradients.append(gradient.double())
    assert results[0].dtype == torch.float32
    assert float(results[0]) == pytest.approx(float(results[1]), rel=1e-5)
    assert (gradients[0] - gradients[1]).abs().max() <= 1e-5 * gradients[1].abs().max()


def test_every_loss_is_among_the_cases():
    public = {name for name, value in vars(losses).items() if callable(value) and value.__module__ == losses.__name__}
    tested = {name.split(",")[0] for name in IDS}
    assert tested == {name for name in public if not name.startswith("_")}


def test_mask_reconstruction_is_the_weighted_mean_square():
    drawn, mask = torch.tensor([[0.5, 1.0], [0.0, 0.0]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    weight = torch.tensor([[2.0, 9.0], [9.0, 0.5]])
    assert float(losses.mask_reconstruction(drawn, mask, weight)) == pytest.approx((2 * 0.25 + 0.5) / 4)


@pytest.mark.parametrize("stretch", [1.0, 2.0])
def test_bone_length_by_hand(stretch):
    height = 1.6
    expected = (stretch - 1) ** 2 * (0.144**2 + 0.144**2 + 0.026**2 + 0.059**2 + 0.097**2)
    upward = {"pelvis": 0.0, "spine": 0.144, "thorax": 0.288, "neck": 0.314, "nose": 0.373, "head": 0.47}
    keypoints = _at({name: (0.2, 0.1 - stretch * height * share) for name, share in upward.items()})
    loss = losses.bone_length(keypoints, torch.tensor(height, dtype=torch.float64), H36M_18)
    assert float(loss) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("loss", "moved", "expected"),
    [
        (losses.symmetry, {"thorax": (0.3, 0.4)}, 0.25 / 4),
        (losses.symmetry, {"left_hip": (0.3, 0.4)}, 0.25 / 4 / 4),
        (losses.symmetry, {"left_hip": (0.3, 0.4), "right_hip": (-0.3, -0.4)}, 0.0),
        (losses.spine_midpoint, {"spine": (0.3, 0.4)}, 0.25 / 2),
        (losses.spine_midpoint, {"pelvis": (0.3, 0.4)}, 0.25 / 4 / 2),
        (losses.tied_limbs, {"left_wrist": (0.3, 0.4)}, 0.25 / 4),
        (losses.tied_limbs, {"left_wrist": (0.3, 0.4), "right_elbow": (0.5, 0.0)}, 0.5 / 4),
        (losses.tied_limbs, {"left_knee": (0.3, 0.4)}, 0.0),
    ],
)
def test_shape_losses_by_hand(loss, moved, expected):
    assert float(loss(_at(moved), H36M_18)) == pytest.approx(expected, abs=1e-12)


def test_losses_between_keypoints_by_hand():
    origin, moved = _at({}), _at({"nose": (0.3, 0.4), "left_knee": (0.0, 0.04)})
    assert float(losses.equivariance(moved, origin)) == pytest.approx((0.25 + 0.0016) / 18)
    weight = torch.zeros(18, dtype=torch.float64)
    weight[[H36M_18.index("nose"), H36M_18.index("pelvis")]] = torch.tensor([1.0, 3.0], dtype=torch.float64)
    assert float(losses.anchor(moved, origin, weight)) == pytest.approx(0.25 / 4)
    assert float(losses.agreement(moved, origin)) == pytest.approx((_huber(0.5) + _huber(0.04)) / 18, rel=1e-6)


def test_depth_by_hand():
    found, target = torch.zeros(18, dtype=torch.float64), torch.zeros(18, dtype=torch.float64)
    found[4], target[4] = 0.5, 0.2
    target[7] = -3.0  # beyond the heatmap's range: as far as it goes
    found[9] = 0.04
    expected = (_huber(0.3) + _huber(1.0) + _huber(0.04)) / 18
    assert float(losses.depth(found, target)) == pytest.approx(expected)


@pytest.mark.parametrize(("left_thigh_mm", "expected"), [(500.0, 0.0), (400.0, 0.1**2), (9000.0, 1.0)])
def test_limb_equality_by_hand(left_thigh_mm, expected):
    thighs = {"right": 500.0, "left": left_thigh_mm}
    knees = {f"{side}_knee": (0.0, thigh, 0.0) for side, thigh in thighs.items()}
    ankles = {f"{side}_ankle": (0.0, thigh, 400.0) for side, thigh in thighs.items()}
    loss = losses.limb_equality(_at({**knees, **ankles}, axes=3), H36M_18)
    assert float(loss) == pytest.approx(expected / 4, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("thigh_mm", "shank_mm", "expected"),
    [(499.0, 501.0, 0.0), (4.99, 5.01, 0.0), (600.0, 400.0, 0.101**2), (0.0, 500.0, 0.499**2)],
)
def test_leg_proportions_by_hand(thigh_mm, shank_mm, expected):
    """Of one leg; the other has average proportions. A leg's own length does not matter."""
    left = {"left_knee": (0.0, thigh_mm, 0.0), "left_ankle": (0.0, thigh_mm, shank_mm)}
    right = {"right_knee": (499.0, 0.0, 0.0), "right_ankle": (1000.0, 0.0, 0.0)}
    loss = losses.leg_proportions(_at({**left, **right}, axes=3), H36M_18)
    assert float(loss) == pytest.approx(expected / 2, rel=1e-5, abs=1e-10)


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
        lambda k: losses.limb_equality(_in_space_mm(k), H36M_18),
        lambda k: losses.leg_proportions(_in_space_mm(k), H36M_18),
    ):
        torch.testing.assert_close(loss(keypoints), loss(mirrored))
    target = _keypoints(4)[1:]
    for loss in (
        losses.equivariance,
        losses.agreement,
        lambda k, other: losses.depth(k[..., 0], other[..., 0]),
    ):
        torch.testing.assert_close(loss(keypoints, target), loss(mirrored, _mirrored(target)))


def test_targets_pass_no_gradient():
    keypoints, target = _keypoints(), _keypoints().requires_grad_()
    loss = losses.agreement(keypoints, target) + losses.depth(keypoints[..., 0], target[..., 0])
    assert not loss.requires_grad


def test_coinciding_joints_have_finite_gradients():
    keypoints = torch.zeros(18, 2).requires_grad_()
    total = (
        losses.bone_length(keypoints, torch.tensor(1.7), H36M_18)
        + losses.agreement(keypoints, torch.zeros(18, 2))
        + losses.limb_equality(_in_space_mm(keypoints), H36M_18)
        + losses.leg_proportions(_in_space_mm(keypoints), H36M_18)
    )
    (gradient,) = torch.autograd.grad(total, keypoints)
    assert torch.isfinite(gradient).all()
