"""Every term of the objective by itself: what weighs it, when it acts, and its value where it can be told by hand."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from mas_ray import losses
from mas_ray.annotations import read_reference
from mas_ray.batch import Batch
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.stage import LossWeights, StageConfig, TeacherConfig
from mas_ray.geometry.affine import apply_affine, invert_affine
from mas_ray.geometry.pixel_grid import pixel_centres_ndc
from mas_ray.geometry.triangulation import per_view, triangulate
from mas_ray.models.detector import Detection, Detector
from mas_ray.models.shape_prior import create_shape_prior
from mas_ray.rendering.skeleton_mask import skeleton_mask, stage_bones
from mas_ray.shards.manifest import read_manifest
from mas_ray.skeleton import H36M_18
from mas_ray.training.data import open_split
from mas_ray.training.figure import stance, warm_up_target
from mas_ray.training.objective import LossBreakdown, StageObjective, Warps
from mas_ray.training.order import draw_warps

TERMS = {field.name for field in fields(LossBreakdown)}
WEIGHTS = [field.name for field in fields(LossWeights)]
SETS, VIEWS = 2, 4


class _Oracle(Detector):
    """Knows the joints of every picture that ``_painted`` made and follows them when the picture is warped."""

    def __init__(self, keypoints_ndc: torch.Tensor, depth_ndc: torch.Tensor, *, follows: bool = True) -> None:
        super().__init__(nn.Identity(), nn.Identity(), H36M_18.num_joints, 1)
        self.keypoints_ndc, self.depth_ndc, self.follows = keypoints_ndc, depth_ndc, follows

    def forward(self, images: torch.Tensor) -> Detection:
        number = (images[:, 2, 32, 32] * 100).round().long() - 1
        keypoints = self.keypoints_ndc[number]
        if self.follows:
            keypoints = apply_affine(invert_affine(_input_from_output(images)), keypoints)
        return Detection(
            keypoints_ndc=keypoints, depth_ndc=self.depth_ndc[number], confidence=torch.ones(keypoints.shape[:-1])
        )


def _painted() -> torch.Tensor:
    """Pictures whose red and green are the place in NDC, and whose blue is their number."""
    centres = pixel_centres_ndc(64)
    picture = torch.stack([centres.expand(64, 64), centres[:, None].expand(64, 64)])
    blue = (torch.arange(SETS * VIEWS) + 1)[:, None, None, None].expand(-1, 1, 64, 64) / 100
    return torch.cat([picture.expand(SETS * VIEWS, 2, 64, 64), blue], dim=1).unflatten(0, (SETS, VIEWS))


def _input_from_output(images: torch.Tensor) -> torch.Tensor:
    """The affine map that painted pictures were warped by: their colours say where each pixel came from."""
    centres, near, far = pixel_centres_ndc(64), 22, 42
    corner, right, below = images[:, :2, near, near], images[:, :2, near, far], images[:, :2, far, near]
    linear = torch.stack([right - corner, below - corner], dim=-1) / (centres[far] - centres[near])
    place = torch.stack([centres[near], centres[near]])
    return torch.cat([linear, (corner - linear @ place).unsqueeze(-1)], dim=-1)


@pytest.fixture(scope="module")
def joints_mm(tiny_dataset) -> torch.Tensor:
    joints = read_reference(tiny_dataset.annotations / "s00.parquet").joints_world_mm[:SETS]
    return torch.from_numpy(joints).float()


@pytest.fixture(scope="module")
def batch(tiny_dataset) -> Batch:
    manifest = read_manifest(tiny_dataset.manifest)
    split = open_split(tiny_dataset.manifest.parent, manifest, "train", cpu_cascade())
    return replace(split.batch(np.arange(SETS)), image=_painted())


@pytest.fixture(scope="module")
def keypoints(batch, joints_mm) -> torch.Tensor:
    """Where every view sees the joints, and a little beside."""
    seen = batch.camera.project(per_view(joints_mm, VIEWS))
    return seen + 0.03 * torch.randn(seen.shape, generator=torch.Generator().manual_seed(2))


def _stage(**changes) -> StageConfig:
    """A stage in which every term acts at step 0; no two weights are alike."""
    weights = LossWeights(**{name: 0.3 + 0.17 * number for number, name in enumerate(WEIGHTS)})
    stage = StageConfig(
        name="all_terms",
        bone_set="medium",
        learning_rates=((1, 1e-3),),
        loss_weights=weights,
        geodesic_weighting=True,
        num_anchor_steps=10,
        num_tied_limb_steps=10,
    )
    return replace(stage, teacher=TeacherConfig() if changes.get("anchor") == "teacher" else None, **changes)


def _objective(keypoints: torch.Tensor, stage: StageConfig, **oracle) -> StageObjective:
    cascade = replace(cpu_cascade(), stages=(stage,))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shape_prior = create_shape_prior(cascade.shape_prior)
    detector = _Oracle(keypoints.flatten(0, 1), keypoints.flatten(0, 1)[..., 0], **oracle)
    return StageObjective(detector, shape_prior, stage=stage, cascade=cascade, skeleton=H36M_18)


def _warps() -> Warps:
    """Two views of each frame set, different ones, not in order."""
    drawn = draw_warps(
        np.arange(SETS), torch.ones(SETS, VIEWS, dtype=torch.bool), num_warped=2, scale=0.05, seed=0, step=0
    )
    return replace(drawn, view=torch.tensor([[3, 1], [0, 2]]))


@torch.no_grad()
def _terms(keypoints, batch, stage, step=0, *, warps=None, **oracle) -> dict[str, float]:
    found = _objective(keypoints, stage, **oracle)(batch, warps or _warps(), step).as_floats()
    assert found.pop("total") == pytest.approx(sum(found.values()))
    return found


def test_joints_that_follow_the_picture_are_equivariant(batch, keypoints):
    assert _terms(keypoints, batch, _stage())["equivariance"] == pytest.approx(0.0, abs=1e-9)


def test_joints_that_stay_where_they_were_are_not(batch, keypoints):
    """By hand: how far the maps move them, mean over the warped views that are there."""
    warps, stage = _warps(), _stage()
    valid = torch.tensor([[True, False, True, True], [True, True, True, True]])
    chosen = keypoints[torch.arange(SETS)[:, None], warps.view]
    moved = (apply_affine(warps.input_from_output, chosen) - chosen).square().sum(-1).mean(-1)
    expected = stage.loss_weights.equivariance * (moved[0, 0] + moved[1].mean()) / 2
    found = _terms(keypoints, replace(batch, valid=valid), stage, follows=False)
    assert found["equivariance"] == pytest.approx(float(expected), rel=1e-4)
    assert float(expected) > 1e-4


def test_without_warps_or_weight_there_is_no_equivariance(batch, keypoints):
    unweighted = _stage(loss_weights=replace(_stage().loss_weights, equivariance=0.0))
    assert _terms(keypoints, batch, unweighted, follows=False)["equivariance"] == 0.0
    assert _objective(keypoints, _stage(), follows=False)(batch, None, 0).equivariance.item() == 0.0


@pytest.mark.parametrize("anchor", ["torso", "stick", "teacher"])
@pytest.mark.parametrize("name", [name for name in WEIGHTS if name != "reprojection"])
def test_half_a_weight_halves_its_term_and_no_other(batch, keypoints, joints_mm, name, anchor):
    """``reprojection`` weighs no term but a share of two: see the next test."""
    stage = _stage(anchor=anchor)
    if anchor == "teacher":
        batch = replace(batch, teacher_mm=joints_mm + 50 * torch.tensor([0.0, 1.0] * 9)[:, None])
    weights = stage.loss_weights
    halved = replace(stage, loss_weights=replace(weights, **{name: getattr(weights, name) / 2}))
    whole, half = (_terms(keypoints, batch, each, follows=False) for each in (stage, halved))
    assert min(whole.values()) > 0.0
    assert half == pytest.approx(whole | {name: whole[name] / 2}, rel=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("geodesic", [True, False])
@pytest.mark.parametrize("share", [0.3, 0.0])
def test_mask_terms_are_those_of_the_keypoints_and_a_share_of_the_reprojected_ones(batch, keypoints, geodesic, share):
    """By hand: triangulated from all views and seen again, both drawn; both through the shape prior network, too."""
    stage = _stage(geodesic_weighting=geodesic)
    stage = replace(stage, loss_weights=replace(stage.loss_weights, reprojection=share))
    objective = _objective(keypoints, stage)
    triangulated = triangulate(keypoints, batch.camera, torch.ones(keypoints.shape[:-1]))
    reprojected = batch.camera.project(per_view(triangulated, VIEWS))
    bones, widths = stage_bones(stage, H36M_18)
    of_skeleton, of_physique = [], []
    for points in (keypoints, reprojected):
        drawn = skeleton_mask(points, bones, widths, size=64, merge="max")
        physique = objective.shape_prior(drawn.flatten(0, 1)).unflatten(0, (SETS, VIEWS))
        for masks, into in ((drawn, of_skeleton), (physique, of_physique)):
            difference = (masks - batch.mask) ** 2
            into.append(float((difference * batch.weight if geodesic else difference).mean()))
    found = _terms(keypoints, batch, stage)
    weights = stage.loss_weights
    assert found["skeleton_mask"] == pytest.approx(
        weights.skeleton_mask * (of_skeleton[0] + share * of_skeleton[1]), rel=1e-4
    )
    assert found["physique_mask"] == pytest.approx(
        weights.physique_mask * (of_physique[0] + share * of_physique[1]), rel=1e-4
    )
    assert of_skeleton[1] != pytest.approx(of_skeleton[0], rel=1e-2)


@pytest.mark.parametrize(
    ("changes", "step", "factors"),
    [
        ({"physique_ramp_steps": 3}, 0, {"physique_mask": 1 / 4}),
        ({"physique_ramp_steps": 3}, 2, {"physique_mask": 3 / 4}),
        ({"mask_ramp_steps": 3}, 1, {"skeleton_mask": 1 / 2, "physique_mask": 1 / 2}),
        ({"mask_ramp_steps": 3, "physique_ramp_steps": 3}, 1, {"skeleton_mask": 1 / 2, "physique_mask": 1 / 4}),
        ({"num_anchor_only_steps": 2}, 1, {"skeleton_mask": 0, "physique_mask": 0}),
        ({"num_anchor_steps": 4, "anchor_fades": True}, 1, {"anchor": 3 / 4}),
        ({"num_anchor_steps": 4}, 4, {"anchor": 0}),
        ({"num_tied_limb_steps": 4}, 4, {"tied_limbs": 0}),
        (
            {"num_direct_only_steps": 2, "loss_weights": replace(_stage().loss_weights, reprojection=0.0)},
            1,
            dict.fromkeys(("consistency", "depth", "limb_equality", "leg_proportions"), 0),
        ),
    ],
)
def test_what_changes_with_the_step_changes_its_terms_and_no_other(batch, keypoints, changes, step, factors):
    always = _stage(loss_weights=changes.get("loss_weights", _stage().loss_weights))
    constant = _terms(keypoints, batch, always, follows=False)
    expected = {name: factors.get(name, 1) * value for name, value in constant.items()}
    found = _terms(keypoints, batch, replace(always, **changes), step, follows=False)
    assert found == pytest.approx(expected, rel=1e-5)
    assert constant.keys() == TERMS


def test_before_triangulation_the_masks_are_those_of_the_keypoints_alone(batch, keypoints):
    waits = _terms(keypoints, batch, _stage(num_direct_only_steps=1))
    never = _stage(loss_weights=replace(_stage().loss_weights, reprojection=0.0))
    assert waits["skeleton_mask"] == pytest.approx(_terms(keypoints, batch, never)["skeleton_mask"], rel=1e-5)
    assert waits["skeleton_mask"] < 0.9 * _terms(keypoints, batch, _stage())["skeleton_mask"]


@torch.no_grad()
def test_the_figure_is_measured_by_the_views_that_are_there(batch, keypoints):
    """A camera lies on its side, and its view is missing: up is what the other three say, by hand."""
    valid = batch.valid.clone()
    valid[:, 3] = False
    rotation = batch.R.clone()
    rotation[:, 3] = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]) @ rotation[:, 3]
    stage = _stage(anchor="stick")
    found = _terms(keypoints, replace(batch, valid=valid, R=rotation), stage)
    three = batch.calibrated & valid

    def by_hand(rotations: torch.Tensor, views: torch.Tensor) -> dict[str, float]:
        figure = stance(batch.mask, replace(batch.camera, R=rotations), views)
        target, weight = warm_up_target(figure, "stick", H36M_18)
        anchor = losses.anchor(keypoints, target, weight)[:, :3].mean()
        length = losses.bone_length(keypoints, figure.height, H36M_18)[:, :3].mean()
        weights = stage.loss_weights
        return {"anchor": float(weights.anchor * anchor), "bone_length": float(weights.bone_length * length)}

    expected = by_hand(rotation, three)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    # With the missing view's word for it, up would be another.
    assert by_hand(rotation, batch.calibrated)["anchor"] != pytest.approx(expected["anchor"], rel=0.01)
