import cv2
import numpy as np
import torch
from rigs import people, ring

from mas_ray.geometry.camera import Camera
from mas_ray.geometry.triangulation import per_view


def test_projection_agrees_with_opencv():
    camera, points = ring(3), people()
    ours = camera.project(per_view(points, 3))
    for view in range(3):
        rotation, _ = cv2.Rodrigues(camera.R[view].numpy())
        theirs, _ = cv2.projectPoints(points.numpy(), rotation, camera.t_mm[view].numpy(), camera.K[view].numpy(), None)
        np.testing.assert_allclose(ours[view].numpy(), theirs[:, 0], atol=1e-6)


def test_unproject_inverts_project():
    camera, points = ring(3), per_view(people(), 3)
    depth = camera.camera_from_world(points)[..., 2]
    torch.testing.assert_close(camera.unproject(camera.project(points), depth), points)


def test_after_crop_projects_into_the_crop():
    camera, points = ring(2), per_view(people(), 2)
    crop_from_image = torch.tensor([[0.5, 0, -20.0], [0, 0.5, -30.0]], dtype=torch.float64).expand(2, 2, 3)
    cropped = camera.after_crop(crop_from_image).project(points)
    torch.testing.assert_close(cropped, camera.project(points) * 0.5 - torch.tensor([20.0, 30.0], dtype=torch.float64))


def test_points_behind_the_camera_stay_finite():
    camera = Camera(K=torch.eye(3), R=torch.eye(3), t_mm=torch.zeros(3))
    assert torch.isfinite(camera.project(torch.tensor([[10.0, 10.0, -5.0], [1.0, 1.0, 0.0]]))).all()
