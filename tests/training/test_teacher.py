"""What a stage knows of whole takes, for the next: names linked, knees forward, arms looked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mas_ray.annotations import read_reference
from mas_ray.batch import Batch
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.stage import TeacherConfig
from mas_ray.geometry.chirality import knee_chirality
from mas_ray.geometry.triangulation import per_view
from mas_ray.inference import FrameSetEstimator, Joints
from mas_ray.models.shape_prior import ShapePriorNetwork
from mas_ray.shards.manifest import read_manifest
from mas_ray.shards.read import read_dataset
from mas_ray.skeleton import H36M_18
from mas_ray.training.arm_search import search_arms
from mas_ray.training.data import FrameSets
from mas_ray.training.state import create_state
from mas_ray.training.teacher import joined, load_teaching, save_teaching, teach

MIRROR = list(H36M_18.mirror_permutation)
NAMES_ONLY = TeacherConfig(search_arms=False)
SKELETON_ONLY, WITH_PHYSIQUE = 0, 1  # stages without and with a weight on the physique mask


class _Told(FrameSetEstimator):
    """Detects the joints that the frame sets carry along."""

    def detect(self, batch: Batch) -> Joints:
        assert batch.teacher_mm is not None
        of_views = torch.zeros(*batch.valid.shape, H36M_18.num_joints)
        return Joints(of_views[..., None].expand(*of_views.shape, 2), of_views, of_views, batch.teacher_mm.clone())


class _Everything(ShapePriorNetwork):
    """Paints the whole picture."""

    def forward(self, skeleton_mask: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(skeleton_mask)


def _estimator(stage: int = SKELETON_ONLY) -> FrameSetEstimator:
    cascade = cpu_cascade()
    state = create_state(cascade, H36M_18, torch.device("cpu"))
    return _Told(
        state.detector,
        _Everything(state.shape_prior.layers),
        stage=cascade.stages[stage],
        cascade=cascade,
        skeleton=H36M_18,
    )


@pytest.fixture(scope="module")
def frame_sets(tiny_dataset) -> FrameSets:
    """All three takes, row after row in no order."""
    manifest = read_manifest(tiny_dataset.manifest)
    rows = list(read_dataset(tiny_dataset.manifest.parent, manifest))
    order = np.random.default_rng(1).permutation(len(rows))
    return FrameSets([rows[row] for row in order], manifest.view_slots, cpu_cascade())


@pytest.fixture(scope="module")
def truth(tiny_dataset, frame_sets) -> torch.Tensor:
    joints = torch.zeros(len(frame_sets), H36M_18.num_joints, 3)
    for rows in frame_sets.takes():
        take = frame_sets._rows[rows[0]]["take_id"]
        reference = read_reference(tiny_dataset.annotations / f"{take}.parquet")
        joints[torch.from_numpy(rows)] = torch.from_numpy(reference.joints_world_mm).float()
    return joints


@pytest.fixture
def confused(truth) -> torch.Tensor:
    """Left and right exchanged in about half of the instants; two could not be triangulated."""
    wrong = torch.rand(len(truth), generator=torch.Generator().manual_seed(3)) < 0.5
    joints = torch.where(wrong[:, None, None], truth[:, MIRROR], truth)
    joints[[4, 11]] = torch.nan
    return joints


def test_names_come_back_consistent_and_with_forward_knees(frame_sets, truth, confused):
    taught = teach(_estimator(), frame_sets.taught(confused), NAMES_ONLY)
    known = confused.isfinite().all(-1).all(-1)
    assert known.sum() == 22
    assert torch.equal(taught[known], truth[known])
    chirality = knee_chirality(taught, H36M_18)
    assert chirality is not None
    assert chirality.num_poses == 22
    assert chirality.mean_mm > 5 * chirality.standard_error_mm


def test_a_take_that_is_wrong_throughout_is_turned_by_its_knees(frame_sets, truth):
    taught = teach(_estimator(), frame_sets.taught(truth[:, MIRROR]), NAMES_ONLY)
    assert torch.equal(taught, truth)


def test_instants_that_could_not_be_triangulated_stay_unknown(frame_sets, confused):
    for config in (TeacherConfig(), NAMES_ONLY, TeacherConfig(link_names=False)):
        taught = teach(_estimator(), frame_sets.taught(confused), config)
        assert torch.equal(taught.isnan(), confused.isnan())
    nothing = torch.full_like(confused, torch.nan)
    assert teach(_estimator(), frame_sets.taught(nothing), TeacherConfig()).isnan().all()


def test_each_part_can_be_left_out(frame_sets, confused):
    neither = teach(_estimator(), frame_sets.taught(confused), TeacherConfig(link_names=False, search_arms=False))
    assert torch.equal(neither.nan_to_num(), confused.nan_to_num())
    arms_only = teach(_estimator(), frame_sets.taught(confused), TeacherConfig(link_names=False)).nan_to_num()
    of_arms = [n for n, name in enumerate(H36M_18.joints) if name.split("_")[-1] in ("shoulder", "elbow", "wrist")]
    others = [n for n in range(H36M_18.num_joints) if n not in of_arms]
    assert torch.equal(arms_only[:, others], confused.nan_to_num()[:, others])
    assert not torch.equal(arms_only[:, of_arms], confused.nan_to_num()[:, of_arms])


@pytest.mark.parametrize("num_parts", [1, 2, 3, 5])
def test_the_parts_together_are_the_whole(frame_sets, confused, num_parts):
    estimator, told = _estimator(), frame_sets.taught(confused)
    whole = teach(estimator, told, TeacherConfig())
    parts = [teach(estimator, told, TeacherConfig(), part=n, num_parts=num_parts) for n in range(num_parts)]
    assert torch.equal(joined(parts).nan_to_num(), whole.nan_to_num())
    done = torch.stack([part.isfinite().all(-1).all(-1) for part in parts]).sum(0)
    assert torch.equal(done, whole.isfinite().all(-1).all(-1).long())


@pytest.mark.parametrize("stage", [SKELETON_ONLY, WITH_PHYSIQUE])
def test_arms_are_looked_for_where_the_stage_has_learned_to_explain_nothing(frame_sets, truth, stage):
    """By the physique mask if the stage trained one, else by the skeleton mask."""
    estimator = _estimator(stage)
    taught = teach(estimator, frame_sets.taught(truth), TeacherConfig(link_names=False))
    for rows in frame_sets.takes():
        batch, joints = frame_sets.batch(rows), truth[torch.from_numpy(rows)]
        skeleton_mask, everything = estimator.render(batch.camera.project(per_view(joints, 4)))
        assert everything.min() == 1.0
        by_skeleton, by_physique = (
            search_arms(
                joints,
                mask=batch.mask,
                explained=explained,
                camera=batch.camera,
                views=batch.valid & batch.calibrated,
                skeleton=H36M_18,
            )
            for explained in (skeleton_mask, everything)
        )
        assert not torch.equal(by_skeleton, by_physique)
        torch.testing.assert_close(
            taught[torch.from_numpy(rows)], by_skeleton if stage == SKELETON_ONLY else by_physique
        )


def test_a_teaching_is_read_as_it_was_written(tmp_path, confused):
    save_teaching(tmp_path / "teacher.pt", confused)
    assert [path.name for path in tmp_path.iterdir()] == ["teacher.pt"]
    torch.testing.assert_close(load_teaching(tmp_path / "teacher.pt"), confused, equal_nan=True, rtol=0, atol=0)


def test_views_without_calibration_are_not_asked_about_arms(frame_sets, truth):
    rows = [dict(row, views=[dict(view) for view in row["views"]]) for row in frame_sets._rows]
    for row in rows:
        row["views"][2]["calibrated"] = False
    some = FrameSets(rows, frame_sets._view_slots, cpu_cascade())
    fewer = FrameSets(
        [dict(row, views=[view for n, view in enumerate(row["views"]) if n != 2]) for row in rows],
        frame_sets._view_slots,
        cpu_cascade(),
    )
    uncalibrated, absent = (teach(_estimator(), each.taught(truth), TeacherConfig()) for each in (some, fewer))
    torch.testing.assert_close(uncalibrated, absent)
