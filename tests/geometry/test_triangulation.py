import pytest
import torch
from rigs import for_batch, hall, people, ring

from mas_ray.geometry.camera import Camera
from mas_ray.geometry.triangulation import per_view, triangulate


def _observe(points, num_views, dtype):
    camera = ring(num_views, dtype)
    return camera, camera.project(per_view(points, num_views)), torch.ones(num_views, 18, dtype=dtype)


def _noise(shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _only(camera: Camera, views: list[int]) -> Camera:
    return Camera(K=camera.K[..., views, :, :], R=camera.R[..., views, :, :], t_mm=camera.t_mm[..., views, :])


def _equations(keypoints: torch.Tensor, camera: Camera) -> torch.Tensor:
    """The rows u p3 - p1 and v p3 - p2 of ``joints x (2 views) x 4``, in pixels and millimetres."""
    projection = camera.K @ torch.cat([camera.R, camera.t_mm[..., None]], dim=-1)
    rows = keypoints[..., None] * projection[:, None, 2:, :] - projection[:, None, :2, :]
    return rows.movedim(0, 1).flatten(1, 2)


def _by_svd(keypoints: torch.Tensor, camera: Camera) -> torch.Tensor:
    """The textbook's homogeneous solution: the right singular vector of the smallest singular value."""
    vector = torch.linalg.svd(_equations(keypoints, camera))[2][:, -1]
    return vector[:, :3] / vector[:, 3:]


def _error_mm(points: torch.Tensor, expected: torch.Tensor) -> float:
    return float((points - expected).norm(dim=-1).mean())


@pytest.mark.parametrize(("dtype", "bound_mm"), [(torch.float64, 1e-4), (torch.float32, 0.01)])
@pytest.mark.parametrize("num_views", [2, 4])
def test_inverts_projection(dtype, bound_mm, num_views):
    points = people(dtype=dtype)
    camera, keypoints, weight = _observe(points, num_views, dtype)
    assert (triangulate(keypoints, camera, weight) - points).norm(dim=-1).max() < bound_mm


@pytest.mark.parametrize("camera", [ring(4), hall()], ids=["ring", "hall"])
def test_agrees_with_singular_value_decomposition(camera):
    exact = camera.project(per_view(people(), 4))
    weight = torch.ones(4, 18, dtype=torch.float64)
    torch.testing.assert_close(triangulate(exact, camera, weight), _by_svd(exact, camera), atol=1e-3, rtol=0)
    noisy = exact + 0.5 * _noise(exact.shape)
    ours, theirs = triangulate(noisy, camera, weight), _by_svd(noisy, camera)
    assert (ours - theirs).norm(dim=-1).max() < 2.0  # other depths, other weights


@pytest.mark.parametrize("sigma_px", [2.0, 8.0])
def test_errs_less_than_singular_value_decomposition_where_depths_differ(sigma_px):
    places = torch.rand(200, 1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 0.5
    camera, points = hall(), people(200) + places * torch.tensor([3000.0, 3000.0, 0.0])
    keypoints = camera.project(per_view(points, 4))
    noisy = keypoints + sigma_px * _noise(keypoints.shape)
    ours = triangulate(noisy, for_batch(camera, 200), torch.ones(noisy.shape[:-1], dtype=torch.float64))
    theirs = torch.stack([_by_svd(instant, camera) for instant in noisy])
    assert _error_mm(ours, points) < 0.96 * _error_mm(theirs, points)


def test_no_place_nearby_fits_the_images_better():
    camera, points = hall(), people()
    keypoints = camera.project(per_view(points, 4)) + 2.0 * _noise((4, 18, 2))
    found = triangulate(keypoints, camera, torch.ones(4, 18, dtype=torch.float64))

    def squared_error(points: torch.Tensor) -> torch.Tensor:
        rays = (camera.project(per_view(points, 4)) - keypoints) / camera.K.diagonal(dim1=-2, dim2=-1)[:, None, :2]
        return rays.square().sum((0, 2))

    best = squared_error(found)
    for axis in torch.eye(3, dtype=torch.float64):
        assert (squared_error(found + 2 * axis) > best).all()
        assert (squared_error(found - 2 * axis) > best).all()


def test_weight_zero_removes_a_view():
    camera, keypoints, weight = _observe(people(), 4, torch.float64)
    keypoints += _noise(keypoints.shape)
    kept = [0, 1, 3]
    expected = triangulate(keypoints[kept], _only(camera, kept), weight[kept])
    keypoints[2] += 300.0
    camera.t_mm[2, 2] += 40_000.0
    weight[2] = 0.0
    torch.testing.assert_close(triangulate(keypoints, camera, weight), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("num_views", [2, 3])
def test_gradcheck(num_views):
    camera, keypoints, weight = _observe(people(), num_views, torch.float64)
    keypoints = keypoints[:, :3].clone().requires_grad_()
    weight = (weight[:, :3] + 0.3 * _noise((num_views, 3)).abs()).requires_grad_()
    assert torch.autograd.gradcheck(lambda k, w: triangulate(k, camera, w), (keypoints, weight), atol=1e-3)


def test_gradient_under_noise_is_that_of_least_squares_with_the_depths_held():
    camera = hall()
    keypoints = (camera.project(per_view(people(), 4)) + 4.0 * _noise((4, 18, 2))).requires_grad_()
    points = triangulate(keypoints, camera, torch.ones(4, 18, dtype=torch.float64))
    depth = camera.camera_from_world(per_view(points.detach(), 4))[..., 2]
    focal = camera.K.diagonal(dim1=-2, dim2=-1)[:, :2]
    scale = (focal[:, None] * depth[..., None]).movedim(0, 1).flatten(1, 2)
    rows = _equations(keypoints, camera) / scale[..., None]
    expected = torch.linalg.lstsq(rows[..., :3], -rows[..., 3:]).solution.squeeze(-1)
    torch.testing.assert_close(points, expected, atol=0.05, rtol=0)
    pull = _noise((18, 3), seed=1)
    (ours,) = torch.autograd.grad((points * pull).sum(), keypoints)
    (theirs,) = torch.autograd.grad((expected * pull).sum(), keypoints)
    assert (ours - theirs).abs().max() < 1e-3 * theirs.abs().max()


@pytest.mark.parametrize("camera", [ring(2), ring(4), hall()], ids=["two", "ring", "hall"])
def test_float32_agrees_with_float64(camera):
    num_views = len(camera.K)
    keypoints = (camera.project(per_view(people(), num_views)) + 2.0 * _noise((num_views, 18, 2))).float()
    points, gradients = [], []
    for dtype in (torch.float32, torch.float64):
        leaf = keypoints.to(dtype).clone().requires_grad_()
        cast = Camera(K=camera.K.to(dtype), R=camera.R.to(dtype), t_mm=camera.t_mm.to(dtype))
        points.append(triangulate(leaf, cast, torch.ones(num_views, 18, dtype=dtype)))
        (points[-1] * _noise((18, 3), seed=1).to(dtype)).sum().backward()
        gradients.append(leaf.grad.double())
    assert (points[0] - points[1]).norm(dim=-1).max() < 0.01
    assert (gradients[0] - gradients[1]).abs().max() < 1e-5 * gradients[1].abs().max()


def _degenerate(rig: str) -> tuple[torch.Tensor, Camera, torch.Tensor]:
    points = people(dtype=torch.float32)
    match rig:
        case "equal cameras":
            camera = _only(ring(1, torch.float32), [0, 0])
        case "one camera":  # at the rig's centre then, at no depth
            camera = Camera(K=ring(1, torch.float32).K, R=torch.eye(3)[None], t_mm=torch.zeros(1, 3))
            points = points + torch.tensor([0.0, 0.0, 3000.0])
        case "cameras at one place":
            camera = _only(ring(2, torch.float32), [0, 0])
            turned = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
            camera.R[1], camera.t_mm[1] = turned @ camera.R[1], turned @ camera.t_mm[1]
        case "points behind a camera":
            camera = ring(3, torch.float32)
            points = points + torch.tensor([6000.0, 0.0, 0.0])
        case "points in a camera":
            camera = ring(3, torch.float32)
            points = (-camera.R[0].T @ camera.t_mm[0]).expand(18, 3)
        case _:
            camera = ring(2, torch.float32)
    num_views = len(camera.K)
    weight = torch.ones(num_views, 18)
    if rig == "no weight":
        weight = torch.zeros_like(weight)
    if rig == "one weight":
        weight[1:] = 0.0
    return camera.project(per_view(points, num_views)), camera, weight


@pytest.mark.parametrize(
    "rig",
    [
        "equal cameras",
        "one camera",
        "cameras at one place",
        "points behind a camera",
        "points in a camera",
        "no weight",
        "one weight",
    ],
)
def test_degenerate_rigs_stay_finite(rig):
    keypoints, camera, weight = _degenerate(rig)
    for noise_px in (0.0, 5.0):
        noisy = (keypoints + noise_px * _noise(keypoints.shape, dtype=torch.float32)).requires_grad_()
        points = triangulate(noisy, camera, weight)
        (gradient,) = torch.autograd.grad(points.sum(), noisy)
        assert torch.isfinite(points).all()
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("batch", [(), (2,), (1, 2)])
def test_batch_axes(batch):
    points = people(*batch)
    camera = for_batch(ring(3), *batch)
    keypoints = camera.project(per_view(points, 3))
    result = triangulate(keypoints, camera, torch.ones(keypoints.shape[:-1], dtype=torch.float64))
    assert result.shape == points.shape
    assert (result - points).norm(dim=-1).max() < 0.01


def test_autocast_has_no_effect():
    camera, keypoints, weight = _observe(people(dtype=torch.float32), 3, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        points = triangulate(keypoints, camera, weight)
    assert torch.equal(points, triangulate(keypoints, camera, weight))
