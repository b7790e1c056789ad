"""A detector that is always right must come out right: naming, triangulation, pixels, absent views."""

from dataclasses import replace

import pytest
import torch

from mas_ray.annotations import read_reference
from mas_ray.batch import Batch, collate
from mas_ray.config.cascade import cpu_cascade
from mas_ray.geometry.camera import Camera
from mas_ray.geometry.triangulation import per_view
from mas_ray.inference import FrameSetEstimator
from mas_ray.models.detector import Detection
from mas_ray.shards.manifest import read_manifest
from mas_ray.shards.read import read_split
from mas_ray.skeleton import H36M_18
from mas_ray.training.state import create_state

SLOTS = {"s02": ("cam01", "cam02", "cam03", "cam04")}
LEFT = [i for i, name in enumerate(H36M_18.joints) if name.startswith("left_")]


class Oracle(torch.nn.Module):
    """Gives the reference's projections, with left and right exchanged in every second view."""

    def __init__(self, batch: Batch, joints: torch.Tensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))  # a network's device is that of its parameters
        keypoints = batch.camera.project(per_view(joints, batch.valid.shape[1]))
        confidence = torch.full(keypoints.shape[:-1], 0.5)
        confidence[..., LEFT] = 0.9
        mirror = list(H36M_18.mirror_permutation)
        keypoints[:, 1::2] = keypoints[:, 1::2][..., mirror, :]
        confidence[:, 1::2] = confidence[:, 1::2][..., mirror]
        self.answer = Detection(
            keypoints_ndc=keypoints.flatten(0, 1),
            depth_ndc=confidence.flatten(0, 1) / 10,
            confidence=confidence.flatten(0, 1),
        )

    def forward(self, images: torch.Tensor) -> Detection:
        return self.answer


@pytest.fixture
def case(tiny_dataset):
    rows = list(read_split(tiny_dataset.manifest.parent, read_manifest(tiny_dataset.manifest), "test"))
    joints = torch.from_numpy(read_reference(tiny_dataset.annotations / "s02.parquet").joints_world_mm).float()
    return _estimator(), rows, joints


def _estimator(*, exchange_sides: bool = False) -> FrameSetEstimator:
    cascade = cpu_cascade()
    state = create_state(cascade, H36M_18, torch.device("cpu"))
    return FrameSetEstimator(
        state.detector,
        state.shape_prior,
        stage=replace(cascade.stages[-1], resolve_names=True),
        cascade=cascade,
        skeleton=H36M_18,
        exchange_sides=exchange_sides,
    )


def _predict(estimator, rows, joints):
    estimator._detector = Oracle(collate(rows, SLOTS, estimator.cascade), joints)
    return estimator.predict(rows, SLOTS)


def test_confused_names_are_resolved_and_joints_triangulated(case):
    estimator, rows, joints = case
    prediction = _predict(estimator, rows, joints)
    assert (prediction.joints_world_mm - joints).norm(dim=-1).max() < 1.0
    assert (prediction.confidence[..., LEFT] == 0.9).all()
    torch.testing.assert_close(prediction.depth_mm, prediction.confidence * 100.0)


def test_keypoints_are_in_pixels_of_the_source_image(case):
    estimator, rows, joints = case
    prediction = _predict(estimator, rows, joints)
    for slot in range(4):
        view = [row["views"][slot] for row in rows]
        camera = Camera(
            K=torch.tensor([v["K"] for v in view]).reshape(-1, 3, 3),
            R=torch.tensor([v["R"] for v in view]).reshape(-1, 3, 3),
            t_mm=torch.tensor([v["t_mm"] for v in view]),
        )
        assert (prediction.keypoints_px[:, slot] - camera.project(joints)).norm(dim=-1).max() < 0.05


def test_absent_views_are_nan_and_one_view_is_not_triangulated(case):
    estimator, rows, joints = case
    rows[0]["views"] = rows[0]["views"][:1]
    rows[1]["views"] = rows[1]["views"][1:]
    prediction = _predict(estimator, rows, joints)
    assert prediction.valid[:2].tolist() == [[True, False, False, False], [False, True, True, True]]
    assert prediction.keypoints_px[0, 1:].isnan().all()
    assert prediction.confidence[1, 0].isnan().all()
    assert prediction.joints_world_mm[0].isnan().all()
    assert torch.isfinite(prediction.joints_world_mm[1:]).all()


def test_names_are_left_alone_if_the_stage_says_so(case):
    estimator, rows, joints = case
    estimator.stage = replace(estimator.stage, resolve_names=False)
    prediction = _predict(estimator, rows, joints)
    assert (prediction.joints_world_mm - joints).norm(dim=-1).max() > 50.0


def test_exchanged_sides_are_exchanged_in_everything(case):
    estimator, rows, joints = case
    prediction = _predict(estimator, rows, joints)
    exchanged = _predict(_estimator(exchange_sides=True), rows, joints)
    mirror = list(H36M_18.mirror_permutation)
    for name, joints_axis in (
        ("keypoints_px", -2),
        ("keypoints_crop_ndc", -2),
        ("joints_world_mm", -2),
        ("depth_mm", -1),
        ("confidence", -1),
    ):
        expected = getattr(prediction, name).index_select(joints_axis, torch.tensor(mirror))
        torch.testing.assert_close(getattr(exchanged, name), expected)
    assert (prediction.confidence[..., LEFT] == 0.9).all()
    assert (exchanged.confidence[..., LEFT] == 0.5).all()


def test_the_networks_are_in_evaluation_mode(case):
    estimator, *_ = case
    assert not estimator._detector.training
    assert not estimator._shape_prior.training
