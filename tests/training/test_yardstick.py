from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from gloo_workers import measure_in_processes
from torch import nn

from mas_ray.annotations import read_reference
from mas_ray.config import codec
from mas_ray.config.cascade import CascadeConfig, GeodesicConfig, cpu_cascade
from mas_ray.config.jobs import TrainJob
from mas_ray.config.yardstick import Yardstick, YardstickWeights
from mas_ray.geometry.pixel_grid import pixel_centres_ndc
from mas_ray.models.detector import Detection
from mas_ray.shards.manifest import read_manifest
from mas_ray.shards.read import read_split
from mas_ray.skeleton import H36M_18
from mas_ray.training.data import FrameSets, open_split
from mas_ray.training.loop import Worker
from mas_ray.training.objective import StageObjective
from mas_ray.training.order import draw_warps
from mas_ray.training.reprojection import positions_ndc
from mas_ray.training.state import create_state
from mas_ray.training.yardstick import TERMS, measure

NUM_ROWS, NUM_VIEWS = 8, 4


class _Says(nn.Module):
    """Finds the given keypoints in the crops of all rows at once, and those of warped crops where they were told."""

    def __init__(self, keypoints_ndc, warped_ndc=None):
        super().__init__()
        self.keypoints_ndc = nn.Parameter(keypoints_ndc.flatten(0, 1))
        self.warped_ndc = self.keypoints_ndc[:NUM_ROWS] if warped_ndc is None else warped_ndc.flatten(0, 1)

    def forward(self, images):
        found = self.keypoints_ndc if len(images) == NUM_ROWS * NUM_VIEWS else self.warped_ndc
        assert len(images) == len(found)
        return _detection(found)


class _Centre(nn.Module):
    """A detector that has collapsed: all joints in the middle of the light, wherever that is."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        light, ndc = images.mean(1), pixel_centres_ndc(images.shape[-1])
        total = light.sum((-1, -2))
        centre = torch.stack([(light.sum(-2) * ndc).sum(-1) / total, (light.sum(-1) * ndc).sum(-1) / total], -1)
        return _detection(centre[:, None].expand(-1, H36M_18.num_joints, 2))


def _detection(keypoints_ndc) -> Detection:
    return Detection(
        keypoints_ndc=keypoints_ndc,
        depth_ndc=torch.zeros(keypoints_ndc.shape[:-1]),
        confidence=torch.ones(keypoints_ndc.shape[:-1]),
    )


def _objective(networks, cascade: CascadeConfig | None = None) -> StageObjective:
    cascade = cascade or cpu_cascade()
    return StageObjective(
        networks.detector, networks.shape_prior, stage=cascade.stages[2], cascade=cascade, skeleton=H36M_18
    )


def _saying(detector: nn.Module, cascade: CascadeConfig | None = None) -> StageObjective:
    """An objective with a made-up detector, whose physique mask is the skeleton mask itself."""
    objective = _objective(create_state(cpu_cascade(), H36M_18, torch.device("cpu")).trained, cascade)
    objective.detector, objective.shape_prior = detector, nn.Identity()
    return objective


@dataclass(frozen=True, kw_only=True)
class _Truth:
    held_out: FrameSets
    keypoints_ndc: torch.Tensor


@pytest.fixture(scope="module")
def truth(tiny_dataset) -> _Truth:
    """Rendered people on black, and where their joints are seen."""
    held_out = _open(tiny_dataset, cpu_cascade())
    batch = held_out.batch(np.arange(NUM_ROWS))
    joints = torch.from_numpy(read_reference(tiny_dataset.annotations / "s01.parquet").joints_world_mm).float()
    return _Truth(held_out=held_out, keypoints_ndc=positions_ndc(joints, batch.camera))


def _open(dataset, cascade: CascadeConfig) -> FrameSets:
    return open_split(dataset.manifest.parent, read_manifest(dataset.manifest), "validation", cascade)


@pytest.fixture(scope="module")
def networks():
    state = create_state(cpu_cascade(), H36M_18, torch.device("cpu"))
    with torch.no_grad():  # a fresh detector finds everything in the middle
        state.detector.heatmap.weight.mul_(100.0)
    return state.trained


def _changed(mask_size: int = 64, **options) -> CascadeConfig:
    """The CPU cascade with another stage of limbs."""
    *before, limbs = cpu_cascade().stages
    return replace(cpu_cascade(), stages=(*before, replace(limbs, **options)), mask_size=mask_size)


LIMBS = cpu_cascade().stages[2]
SAME_FED = {
    "lambda": _changed(
        loss_weights=replace(LIMBS.loss_weights, skeleton_mask=0.1, physique_mask=0.0, equivariance=9.0)
    ),
    "weighting": _changed(geodesic_weighting=False),
    "geodesic": replace(cpu_cascade(), geodesic=GeodesicConfig(foreground_rate=5.0, normalise_mean=False)),
    "warps": replace(cpu_cascade(), equivariance_scale=0.5, equivariance_views=4, seed=7),
}
OTHERWISE_FED = {
    "sigma": _changed(bone_width=0.2, arm_bone_width=0.1),
    "bones": _changed(bone_set="tight"),
    "merge": replace(cpu_cascade(), bone_merge="clamped_sum"),
    "thin bones on a larger map": _changed(128, bone_width=0.02, arm_bone_width=0.02),
}


@pytest.mark.parametrize("other", [*SAME_FED, *OTHERWISE_FED])
def test_what_is_swept_does_not_change_the_yardstick(tiny_dataset, networks, other):
    """Bit for bit; only the shape prior network's input is the stage's own, and it may answer to that."""
    expected, found = (
        measure(
            _objective(networks, cascade),
            _open(tiny_dataset, cascade),
            Yardstick(),
            batch_size=8,
        )
        for cascade in (cpu_cascade(), (SAME_FED | OTHERWISE_FED)[other])
    )
    if other in OTHERWISE_FED:
        assert found.pop("physique_iou") != expected.pop("physique_iou")
    assert found == expected


def test_a_row_is_measured_the_same_again_and_in_any_batch(tiny_dataset, networks):
    """Equal bits again; batches of another size round otherwise, but warps do not follow them."""
    held_out, objective = _open(tiny_dataset, cpu_cascade()), _objective(networks)
    before = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    measured = measure(objective, held_out, Yardstick(), batch_size=8)
    torch.manual_seed(123)
    assert measure(objective, held_out, Yardstick(), batch_size=8) == measured
    assert measure(objective, held_out, Yardstick(), batch_size=3) == pytest.approx(measured, rel=1e-4)
    assert objective.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in objective.state_dict().items())


def test_it_ranks_poses_by_their_error(truth):
    """The true pose before one that is a little off, before one that is far off, by every term of given joints."""
    noise = torch.randn(truth.keypoints_ndc.shape, generator=torch.Generator().manual_seed(0))
    measured = [
        measure(_saying(_Says(truth.keypoints_ndc + scale * noise)), truth.held_out, Yardstick(), batch_size=8)
        for scale in (0.0, 0.04, 0.08, 0.16, 0.32)
    ]
    for term in ("skeleton_mask", "physique_iou", "reprojection", "score"):
        values = [terms[term] for terms in measured]
        assert values == sorted(values), term
        assert values[-1] > 1.2 * values[0], term
    assert measured[0]["reprojection"] < 0.01


def test_a_joint_off_by_so_much_is_so_much_of_the_crop(truth):
    """One view's ankle off by 0.1 of NDC is 5 % of the crop's side; triangulation shares it among the views."""
    moved = truth.keypoints_ndc.clone()
    moved[:, 0] += torch.tensor([0.0, 0.1])
    told = measure(_saying(_Says(moved)), truth.held_out, Yardstick(), batch_size=8)
    assert 0.2 * 5.0 < told["reprojection"] < 5.0


def test_left_and_right_are_named_as_the_stage_names_them(truth):
    swapped = truth.keypoints_ndc.clone()
    swapped[:, 0] = swapped[:, 0, list(H36M_18.mirror_permutation)]
    plain = measure(_saying(_Says(swapped)), truth.held_out, Yardstick(), batch_size=8)
    resolved = measure(_saying(_Says(swapped), _changed(resolve_names=True)), truth.held_out, Yardstick(), batch_size=8)
    assert resolved["reprojection"] < 0.01 < 0.5 < plain["reprojection"]
    assert resolved["equivariance"] == plain["equivariance"]  # of one view, whose names are its own
    assert resolved["skeleton_mask"] == plain["skeleton_mask"]  # a mask does not see names


def test_a_collapsed_skeleton_is_seen_by_the_masks_alone(truth):
    true = measure(_saying(_Says(truth.keypoints_ndc)), truth.held_out, Yardstick(), batch_size=8)
    pelvis = truth.keypoints_ndc[:, :, :1].expand_as(truth.keypoints_ndc)
    collapsed = measure(_saying(_Says(pelvis)), truth.held_out, Yardstick(), batch_size=8)
    assert collapsed["reprojection"] < 0.01
    assert collapsed["skeleton_mask"] > 2 * true["skeleton_mask"]
    assert collapsed["physique_iou"] > 1.2 * true["physique_iou"]
    follows = measure(_saying(_Centre()), truth.held_out, Yardstick(), batch_size=8)
    assert follows["equivariance"] < 0.5  # percent; the warps move things by several


def test_a_detector_that_never_moves_is_off_by_the_warps(truth):
    """By as much as each row's own map moves its keypoints, in percent of the crop."""
    place = truth.keypoints_ndc[:1, :1].expand(NUM_ROWS, NUM_VIEWS, -1, -1)
    measured = measure(_saying(_Says(place)), truth.held_out, Yardstick(), batch_size=8)
    valid = torch.ones(NUM_ROWS, NUM_VIEWS, dtype=torch.bool)
    maps = draw_warps(np.arange(NUM_ROWS), valid, num_warped=1, scale=0.05, seed=0, step=0).input_from_output[:, 0]
    points = place[:, 0]
    moved = points @ maps[..., :2].mT + maps[:, None, :, 2]
    assert measured["equivariance"] == pytest.approx(float((moved - points).norm(dim=-1).mean()) * 50, rel=1e-5)


def _with_views(dataset, *num_views: int) -> FrameSets:
    """The rows with their first so many views; those of none are left out."""
    manifest = read_manifest(dataset.manifest)
    rows = read_split(dataset.manifest.parent, manifest, "validation")
    kept = [{**row, "views": row["views"][:num]} for row, num in zip(rows, num_views, strict=True) if num]
    return FrameSets(kept, manifest.view_slots, cpu_cascade())


def test_single_views_have_no_reprojection_error(tiny_dataset, networks):
    """Rows that have none do not count as 0; where no row has one, the term is left away, and cannot be the score."""
    objective = _objective(networks)
    whole, half, others, none = (
        measure(objective, _with_views(tiny_dataset, *views), Yardstick(), batch_size=3)
        for views in ([4] * 8, [1] * 4 + [4] * 4, [0] * 4 + [4] * 4, [1] * 8)
    )
    assert half["reprojection"] == pytest.approx(others["reprojection"], rel=1e-4)
    assert set(whole) == set(half) == {*TERMS, "score"}
    assert set(none) == set(whole) - {"reprojection"}
    with pytest.raises(ValueError, match=r"yardstick\.weights\.reprojection: no held-out frame set has two calibrated"):
        measure(
            objective,
            _with_views(tiny_dataset, *[1] * 8),
            Yardstick(weights=YardstickWeights(reprojection=0.1)),
            batch_size=8,
        )


def test_the_score_is_the_weighted_sum(tiny_dataset, networks):
    held_out, objective = _open(tiny_dataset, cpu_cascade()), _objective(networks)
    plain = measure(objective, held_out, Yardstick(), batch_size=8)
    assert plain["score"] == plain["skeleton_mask"]
    weights = YardstickWeights(skeleton_mask=0.0, physique_iou=2.0, reprojection=0.5, equivariance=0.25)
    weighted = measure(objective, held_out, Yardstick(weights=weights), batch_size=8)
    assert {name: weighted[name] for name in TERMS} == {name: plain[name] for name in TERMS}
    assert weighted["score"] == pytest.approx(
        2.0 * plain["physique_iou"] + 0.5 * plain["reprojection"] + 0.25 * plain["equivariance"]
    )


def test_what_is_not_finite_stops_it(tiny_dataset):
    state = create_state(cpu_cascade(), H36M_18, torch.device("cpu"))
    with torch.no_grad():
        next(state.detector.parameters()).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="yardstick: skeleton_mask of held-out frame sets is nan"):
        measure(
            _objective(state),
            _open(tiny_dataset, cpu_cascade()),
            Yardstick(),
            batch_size=8,
        )


def test_two_parts_are_the_whole(tiny_dataset, networks, monkeypatch):
    """The second worker's sums are kept and added to the first's, as reducing would; the parts are not equal."""
    held_out, objective = (
        _with_views(tiny_dataset, 1, 4, 3, 1, 4, 2, 0, 4),
        _objective(networks),
    )
    kept = []
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda sums: kept.append(sums.clone()))
    measure(objective, held_out, Yardstick(), batch_size=8, worker=Worker(rank=1, world_size=2))
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda sums: sums.add_(kept[0]))
    both = measure(objective, held_out, Yardstick(), batch_size=8, worker=Worker(rank=0, world_size=2))
    assert both == pytest.approx(measure(objective, held_out, Yardstick(), batch_size=8), rel=1e-4)


@pytest.mark.slow
def test_two_processes_measure_what_one_does(tiny_dataset, tmp_path):
    alone = measure_in_processes(1, tmp_path / "1", tiny_dataset.manifest, cpu_cascade(), Yardstick())
    together = measure_in_processes(2, tmp_path / "2", tiny_dataset.manifest, cpu_cascade(), Yardstick())
    assert together[0] == together[1] == pytest.approx(alone[0], rel=1e-4)


def test_a_yardstick_that_cannot_measure_is_refused():
    with pytest.raises(ValueError, match=r"a bone width of 0\.01 "):
        Yardstick(bone_width=0.01)
    with pytest.raises(ValueError, match=r"mask_size: expected a multiple of 2 of at least 64, got 63"):
        Yardstick(mask_size=63)
    with pytest.raises(ValueError, match="warp_scale: expected more than 0, got 0"):
        Yardstick(warp_scale=0.0)
    with pytest.raises(ValueError, match="reprojection: expected a weight of at least 0, got -1"):
        YardstickWeights(reprojection=-1.0)
    with pytest.raises(ValueError, match="weights: all are 0"):
        YardstickWeights(skeleton_mask=0.0)


def test_it_is_recorded_with_the_job_and_older_records_have_none():
    job = TrainJob(manifest="m.json", storage="runs", cascade=cpu_cascade(), yardstick=Yardstick(bone_width=0.1))
    assert codec.loads(TrainJob, codec.dumps(job)) == job
    older = codec.to_json(job)
    del older["yardstick"]
    assert codec.from_json(TrainJob, older) == replace(job, yardstick=None)
