"""Masks leave left and right open: exchanging the names everywhere changes no loss. Knees tell."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from mas_ray.annotations import read_reference
from mas_ray.batch import Batch
from mas_ray.config.cascade import CascadeConfig, cpu_cascade, paper_cascade
from mas_ray.config.stage import LossWeights, StageConfig
from mas_ray.corpora.synthetic.config import learning_corpus
from mas_ray.corpora.synthetic.recording import record
from mas_ray.geometry.chirality import KneeChirality, knee_chirality
from mas_ray.geometry.triangulation import per_view
from mas_ray.models.detector import Detection, Detector
from mas_ray.shards.manifest import read_manifest
from mas_ray.skeleton import H36M_18
from mas_ray.training.data import open_split
from mas_ray.training.objective import LossBreakdown, StageObjective
from mas_ray.training.order import draw_warps
from mas_ray.training.state import TrainState, create_state

MIRROR = list(H36M_18.mirror_permutation)
LATE = 10_000


def _small_paper() -> CascadeConfig:
    """The paper's stages on the small networks and maps of the other recipe."""
    return replace(cpu_cascade(), stages=paper_cascade().stages)


def _without_teacher_by_weights() -> CascadeConfig:
    """Every stage at its weights, those of a taught one included, but with nobody to teach it."""
    stages = tuple(
        replace(stage, teacher=None, anchor="torso") if stage.teacher is not None else stage
        for stage in cpu_cascade().stages
    )
    return replace(cpu_cascade(), stages=stages)


def _everything_on() -> CascadeConfig:
    """No weight is 0, so that no term hides behind its weight; the warm-up target is the paper's."""
    everything = LossWeights(**{field.name: 1.0 for field in fields(LossWeights)})
    stages = tuple(
        replace(stage, loss_weights=everything, num_anchor_steps=LATE, num_tied_limb_steps=LATE, anchor="torso")
        for stage in paper_cascade().stages
    )
    return replace(cpu_cascade(), stages=stages)


CASES = [
    pytest.param(recipe(), stage, id=f"{name}-{recipe().stages[stage].name}")
    for name, recipe in {
        "paper": _small_paper,
        "cpu": _without_teacher_by_weights,
        "everything": _everything_on,
    }.items()
    for stage in range(3)
]


@pytest.fixture(scope="module")
def batch(tiny_dataset) -> Batch:
    manifest = read_manifest(tiny_dataset.manifest)
    return open_split(tiny_dataset.manifest.parent, manifest, "train", cpu_cascade()).batch(np.arange(4))


def _spread_out(cascade: CascadeConfig) -> TrainState:
    """Networks whose joints lie all over the picture; those of fresh ones huddle in the middle."""
    state = create_state(cascade, H36M_18, torch.device("cpu"))
    with torch.no_grad():
        state.detector.heatmap.weight.mul_(40.0)
    return state


def _exchange_names(detector: Detector) -> None:
    """Permute the heatmaps: keypoints, depth and confidence of left and right change places."""
    with torch.no_grad():
        for parameter in (detector.heatmap.weight, detector.heatmap.bias):
            of_joints = parameter.unflatten(0, (detector.num_joints, detector.heatmap_depth))
            parameter.copy_(of_joints[MIRROR].flatten(0, 1))


def _losses(cascade: CascadeConfig, stage: int, batch: Batch, step: int, *, exchanged: bool) -> LossBreakdown:
    state = _spread_out(cascade)
    if exchanged:
        _exchange_names(state.detector)
    objective = StageObjective(
        state.detector, state.shape_prior, stage=cascade.stages[stage], cascade=cascade, skeleton=H36M_18
    )
    warps = draw_warps(np.arange(4), batch.valid, num_warped=2, scale=0.05, seed=0, step=step)
    with torch.no_grad():
        return objective(batch, warps, step)


def test_the_exchange_is_one_and_a_large_one(batch):
    state = _spread_out(cpu_cascade())
    images = batch.image.flatten(0, 1)
    with torch.no_grad():
        before = state.detector(images)
        _exchange_names(state.detector)
        after = state.detector(images)
    torch.testing.assert_close(after.keypoints_ndc, before.keypoints_ndc[:, MIRROR])
    torch.testing.assert_close(after.depth_ndc, before.depth_ndc[:, MIRROR])
    torch.testing.assert_close(after.confidence, before.confidence[:, MIRROR])
    sided = [index for index, mirrored in enumerate(MIRROR) if index != mirrored]
    assert (after.keypoints_ndc - before.keypoints_ndc)[:, sided].norm(dim=-1).mean() > 0.1
    assert (after.depth_ndc - before.depth_ndc)[:, sided].abs().mean() > 0.05


@pytest.mark.parametrize(("cascade", "stage"), CASES)
@pytest.mark.parametrize("step", [0, LATE - 1, LATE])
def test_exchanging_all_names_changes_no_term_of_any_stage(batch, cascade, stage, step):
    """But for the upright stick of the warm-up, which names the sides by the picture: no side of the person's."""
    before, after = (
        _losses(cascade, stage, batch, step, exchanged=exchanged).as_floats() for exchanged in (False, True)
    )
    stick = cascade.stages[stage].anchor == "stick" and step < cascade.stages[stage].num_anchor_steps
    for name in before.keys() - ({"anchor", "total"} if stick else set()):
        assert after[name] == pytest.approx(before[name], rel=1e-4, abs=1e-6), name
    if stick:
        assert after["anchor"] != pytest.approx(before["anchor"], rel=1e-3)


def test_all_terms_were_compared(batch):
    """In ``_everything_on`` each term is at work, so that none is equal because it is 0."""
    found = _losses(_everything_on(), 2, batch, LATE - 1, exchanged=False).as_floats()
    assert min(found.values()) > 0.0


def _other_names_in_odd_views(found: Detection) -> Detection:
    """Exchange left and right in every second view of four."""
    odd = torch.arange(len(found.depth_ndc)) % 2 == 1
    return Detection(
        keypoints_ndc=torch.where(odd[:, None, None], found.keypoints_ndc[:, MIRROR], found.keypoints_ndc),
        depth_ndc=torch.where(odd[:, None], found.depth_ndc[:, MIRROR], found.depth_ndc),
        confidence=torch.where(odd[:, None], found.confidence[:, MIRROR], found.confidence),
    )


class _Saying(Detector):
    """Says the same of whatever it sees."""

    def __init__(self, answer: Detection) -> None:
        super().__init__(torch.nn.Identity(), torch.nn.Identity(), H36M_18.num_joints, 1)
        self.answer = answer

    def forward(self, images: torch.Tensor) -> Detection:
        return self.answer


@pytest.mark.parametrize("resolve_names", [False, True])
def test_exchanging_names_in_some_views_is_seen_and_the_search_undoes_it(batch, resolve_names):
    """What is ambiguous is one bit for all views, not a bit for each."""
    cascade = _everything_on()
    stage = replace(cascade.stages[2], resolve_names=resolve_names)
    state = _spread_out(cascade)
    with torch.no_grad():
        said = state.detector(batch.image.flatten(0, 1))
    one, other = (
        _losses_of(answer, state, stage, cascade, batch) for answer in (said, _other_names_in_odd_views(said))
    )
    for name in ("consistency", "skeleton_mask", "limb_equality", "leg_proportions", "depth"):
        assert (one[name] == pytest.approx(other[name], rel=1e-3)) == resolve_names, name
    for name in ("symmetry", "bone_length", "spine_midpoint"):
        assert one[name] == pytest.approx(other[name], rel=1e-4)


def test_depth_is_named_as_the_keypoints_are(batch, tiny_dataset):
    """A detector that knows all joints, but names them another way in every second view."""
    cascade = _everything_on()
    joints_mm = torch.from_numpy(read_reference(tiny_dataset.annotations / "s00.parquet").joints_world_mm[:4]).float()
    in_views = per_view(joints_mm, 4)
    z_mm = batch.camera.camera_from_world(in_views)[..., 2]
    known = Detection(
        keypoints_ndc=batch.camera.project(in_views).flatten(0, 1),
        depth_ndc=((z_mm - z_mm[..., :1]) / cascade.detector.depth_range_mm).flatten(0, 1),
        confidence=torch.ones(16, H36M_18.num_joints),
    )
    stage, state = replace(cascade.stages[2], resolve_names=True), _spread_out(cascade)
    for said in (known, _other_names_in_odd_views(known)):
        found = _losses_of(said, state, stage, cascade, batch)
        assert found["consistency"] < 1e-6
        assert found["depth"] < 1e-6
    unresolved = replace(stage, resolve_names=False)
    found = _losses_of(_other_names_in_odd_views(known), state, unresolved, cascade, batch)
    assert min(found["consistency"], found["depth"]) > 1e-3


def _losses_of(
    said: Detection, state: TrainState, stage: StageConfig, cascade: CascadeConfig, batch: Batch
) -> dict[str, float]:
    objective = StageObjective(_Saying(said), state.shape_prior, stage=stage, cascade=cascade, skeleton=H36M_18)
    with torch.no_grad():
        return objective(batch, None, LATE).as_floats()


def test_knees_undo_the_exchange_on_the_synthetic_corpus():
    """Twelve of its people, all their takes, every left called right."""
    config = learning_corpus("hard")
    takes = [
        torch.from_numpy(record(config, subject, take).body.joints_world_mm)
        for subject in range(0, 12)
        for take in range(config.takes_per_subject)
    ]
    named_rightly = knee_chirality(torch.cat(takes), H36M_18)
    exchanged = [poses[:, MIRROR] for poses in takes]
    found = knee_chirality(torch.cat(exchanged), H36M_18)
    assert found is not None
    assert named_rightly is not None
    assert found.says_swapped
    assert found.mean_mm < -5 * found.standard_error_mm
    # Poses of one take are not independent, takes are.
    of_takes = np.array([_mean_mm(knee_chirality(poses, H36M_18)) for poses in exchanged])
    assert of_takes.mean() < -5 * of_takes.std(ddof=1) / math.sqrt(len(of_takes))
    assert named_rightly.mean_mm > 5 * named_rightly.standard_error_mm


def _mean_mm(chirality: KneeChirality | None) -> float:
    assert chirality is not None
    return chirality.mean_mm
