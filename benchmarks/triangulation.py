"""Triangulation forward and backward against the textbook's: singular vectors of equations in pixels and millimetres.

    python benchmarks/triangulation.py

Under a minute. The rig is like Human3.6M's, four cameras around an oblong hall, and people stand anywhere in it. A
third variant, least squares in normalised coordinates without the second pass, shows what dividing by depth brings.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from measure import interleaved_cpu_seconds, peak_bytes, print_table
from torch import Tensor
from torch.nn import functional as F

from mas_ray.geometry.camera import Camera
from mas_ray.geometry.triangulation import per_view, triangulate

NUM_INSTANTS = 500
TARGET = "gradient error <= 1e-4 in float32, finite on equal cameras, < 0.01 mm without noise, no slower than the SVD"

Triangulation = Callable[[Tensor, Camera, Tensor], Tensor]


def singular_vectors(keypoints_px: Tensor, camera: Camera, weight: Tensor) -> Tensor:
    """The homogeneous direct linear transform in pixels and millimetres."""
    projection = camera.K @ torch.cat([camera.R, camera.t_mm[..., None]], dim=-1)
    vector = torch.linalg.svd(equations(keypoints_px, projection, weight), full_matrices=False)[2][..., -1, :]
    return vector[..., :3] / vector[..., 3:]


def one_pass(keypoints_px: Tensor, camera: Camera, weight: Tensor) -> Tensor:
    """Least squares by QR in normalised coordinates and metres; rows keep their factor of the depth."""
    rays = torch.cat([keypoints_px, torch.ones_like(keypoints_px[..., :1])], dim=-1) @ torch.linalg.inv(camera.K).mT
    rows = equations(rays[..., :2], torch.cat([camera.R, camera.t_mm[..., None] / 1000.0], dim=-1), weight)
    return 1000.0 * torch.linalg.lstsq(rows[..., :3], -rows[..., 3:]).solution.squeeze(-1)


def equations(points: Tensor, projection: Tensor, weight: Tensor) -> Tensor:
    """Rows u p3 - p1 and v p3 - p2: instants x joints x (2 views) x 4."""
    rows = points[..., None] * projection[..., None, 2:, :] - projection[..., None, :2, :]
    return (rows * weight[..., None, None]).movedim(-4, -3).flatten(-3, -2)


VARIANTS: dict[str, Triangulation] = {
    "SVD, pixels and mm": singular_vectors,
    "QR, normalised, one pass": one_pass,
    "triangulate": triangulate,
}


def hall(dtype: torch.dtype) -> Camera:
    """Four cameras near the corners of an oblong hall, at 3.7 to 5.5 m from its middle, once per instant."""
    centres_mm = torch.tensor(
        [[1840.0, 4960.0, 1560.0], [1760.0, -5080.0, 1610.0], [-1850.0, 5220.0, 1490.0], [-1790.0, -3720.0, 1570.0]],
        dtype=torch.float64,
    )
    forward = F.normalize(centres_mm.new_tensor([0.0, 0.0, 900.0]) - centres_mm, dim=-1)
    right = F.normalize(torch.linalg.cross(forward, centres_mm.new_tensor([[0.0, 0.0, 1.0]])), dim=-1)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=-2)
    translation_mm = -(rotation @ centres_mm[..., None]).squeeze(-1)
    K = torch.tensor([[1146.0, 0.0, 512.0], [0.0, 1146.0, 510.0], [0.0, 0.0, 1.0]], dtype=dtype)
    return Camera(
        K=K.expand(NUM_INSTANTS, 4, 3, 3),
        R=rotation.to(dtype).expand(NUM_INSTANTS, 4, 3, 3),
        t_mm=translation_mm.to(dtype).expand(NUM_INSTANTS, 4, 3),
    )


def people_mm() -> Tensor:
    """Joints in person-sized boxes, anywhere in an area of 3 x 3 m (float64)."""
    generator = torch.Generator().manual_seed(0)
    place = torch.rand(NUM_INSTANTS, 1, 3, dtype=torch.float64, generator=generator) - 0.5
    joints = torch.rand(NUM_INSTANTS, 18, 3, dtype=torch.float64, generator=generator) - 0.5
    box, area = torch.tensor([900.0, 900.0, 1700.0]), torch.tensor([3000.0, 3000.0, 0.0])
    return place * area + joints * box + torch.tensor([0.0, 0.0, 900.0])


def keypoints_px(noise_px: float) -> Tensor:
    """What the cameras see of the people (float64)."""
    exact = hall(torch.float64).project(per_view(people_mm(), 4))
    noise = torch.randn(exact.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return exact + noise_px * noise


def prepare(name: str, dtype: torch.dtype = torch.float32) -> partial[Tensor]:
    """A call of one variant on noisy keypoints, forward and backward, that returns the keypoints' gradient."""
    pull = torch.randn(NUM_INSTANTS, 18, 3, generator=torch.Generator().manual_seed(2)).to(dtype)
    keypoints = keypoints_px(5.0).to(dtype)
    return partial(gradient, VARIANTS[name], keypoints, hall(dtype), pull)


def gradient(function: Triangulation, keypoints: Tensor, camera: Camera, pull: Tensor) -> Tensor:
    """The keypoints' gradient of the positions' product with ``pull``."""
    leaf = keypoints.clone().requires_grad_()
    points = function(leaf, camera, torch.ones_like(leaf[..., 0]))
    return torch.autograd.grad((points * pull).sum(), leaf)[0]


def gradient_error(name: str) -> float:
    """Largest difference between float32 and float64 over the instants, relative to an instant's largest gradient."""
    single, double = prepare(name)(), prepare(name, torch.float64)()
    return float(((single - double).abs().amax((1, 2, 3)) / double.abs().amax((1, 2, 3))).max())


def error_mm(name: str, noise_px: float, reduce: Callable[[Tensor], Tensor]) -> float:
    """Distance to the truth in float32, its mean or maximum over all joints."""
    keypoints = keypoints_px(noise_px).float()
    points = VARIANTS[name](keypoints, hall(torch.float32), torch.ones_like(keypoints[..., 0]))
    return float(reduce((points - people_mm()).norm(dim=-1)))


def gradient_with_equal_cameras(name: str) -> str:
    """How a rig fares whose cameras are all the same one."""
    call = prepare(name)
    function, keypoints, camera, pull = call.args
    equal = Camera(K=camera.K, R=camera.R[:, :1].expand(-1, 4, 3, 3), t_mm=camera.t_mm[:, :1].expand(-1, 4, 3))
    try:
        found = gradient(function, keypoints[:, :1].expand(-1, 4, 18, 2), equal, pull)
    except torch.linalg.LinAlgError:
        return "raises"
    finite = torch.isfinite(found)
    return f"up to {found[finite].abs().max():.0e}" + ("" if finite.all() else f", {(~finite).float().mean():.1%} NaN")


def main() -> None:
    """Print one table of cost and one of accuracy."""
    seconds = interleaved_cpu_seconds({name: prepare(name) for name in VARIANTS}, repetitions=15)
    peak = {name: peak_bytes(prepare, name) for name in VARIANTS}
    base_seconds, base_peak = seconds["SVD, pixels and mm"], peak["SVD, pixels and mm"]
    print_table(
        f"{NUM_INSTANTS} instants, 18 joints, 4 views, float32, forward and backward",
        ("variant", "CPU ms", "times as fast", "peak MiB", "share", "gradient error", "equal cameras: gradient"),
        [
            (
                name,
                f"{1e3 * seconds[name]:.1f}",
                f"{base_seconds / seconds[name]:.2f}",
                f"{peak[name] / 2**20:.0f}",
                f"{peak[name] / base_peak:.2f}",
                f"{gradient_error(name):.1e}",
                gradient_with_equal_cameras(name),
            )
            for name in VARIANTS
        ],
    )
    print_table(
        "Error in mm: without noise the largest, under 2 and 8 px of noise the mean",
        ("variant", "0 px", "2 px", "8 px"),
        [
            (
                name,
                f"{error_mm(name, 0.0, torch.max):.4f}",
                f"{error_mm(name, 2.0, torch.mean):.2f}",
                f"{error_mm(name, 8.0, torch.mean):.2f}",
            )
            for name in VARIANTS
        ],
    )
    print(f"\nTarget: {TARGET}.")


if __name__ == "__main__":
    main()
