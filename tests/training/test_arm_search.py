"""Arms are looked for in the masks of thin figures whose true pose is known, from a pose whose arms hang."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from rigs import for_batch, ring

from mas_ray.config.cascade import cpu_cascade
from mas_ray.geometry.camera import Camera
from mas_ray.geometry.triangulation import per_view
from mas_ray.rendering.skeleton_mask import skeleton_mask, stage_bones
from mas_ray.skeleton import H36M_18
from mas_ray.training.arm_search import _look, search_arms

STATURE_MM = 1700.0
HEIGHT = {"pelvis": 0.53, "spine": 0.674, "thorax": 0.818, "neck": 0.85, "nose": 0.915, "head": 0.985}
SIDED = {"hip": (0.53, 0.08), "knee": (0.285, 0.09), "ankle": (0.039, 0.1), "shoulder": (0.818, 0.115)}
UPPER_ARM, FOREARM = 0.186, 0.146
# Directions of upper arm and forearm: aside (away from the body), ahead, up.
DOWN = ((0.2, 0.0, -1.0), (0.1, 0.0, -1.0))
UP = ((0.3, 0.0, 1.0), (0.1, 0.1, 1.0))
ASIDE = ((1.0, 0.0, 0.0), (1.0, 0.0, 0.2))
HEADINGS = [2 * math.pi * n / 12 + 0.1 for n in range(12)]
ARMS = [H36M_18.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("shoulder", "elbow", "wrist")]


def _person(left: tuple, right: tuple, heading: float) -> torch.Tensor:
    """A standing figure of average proportions whose arms point as given."""
    places = {name: torch.tensor([0.0, 0.0, share]) for name, share in HEIGHT.items()}
    for side, outwards, arm in (("left", -1.0, left), ("right", 1.0, right)):
        places |= {f"{side}_{name}": torch.tensor([outwards * x, 0.0, z]) for name, (z, x) in SIDED.items()}
        upper, fore = (
            torch.nn.functional.normalize(torch.tensor(direction) * torch.tensor([outwards, 1.0, 1.0]), dim=0)
            for direction in arm
        )
        places[f"{side}_elbow"] = places[f"{side}_shoulder"] + UPPER_ARM * upper
        places[f"{side}_wrist"] = places[f"{side}_elbow"] + FOREARM * fore
    cos, sin = math.cos(heading), math.sin(heading)
    turn = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return torch.stack([places[joint] for joint in H36M_18.joints]) @ turn.T * STATURE_MM


def _people(left: tuple, right: tuple) -> torch.Tensor:
    return torch.stack([_person(left, right, heading) for heading in HEADINGS])


def _cameras(batch: int) -> Camera:
    """Four around the person, with NDC for pixels; a pixel of the 64 px maps is 44 mm at the person."""
    rig = ring(4, torch.float32)
    K = torch.diag(torch.tensor([3.2, 3.2, 1.0])).expand(4, 3, 3)
    return for_batch(Camera(K=K, R=rig.R, t_mm=rig.t_mm), batch)


class _Sight(NamedTuple):
    mask: torch.Tensor
    explained: torch.Tensor
    camera: Camera
    views: torch.Tensor


def _sight(true: torch.Tensor, predicted: torch.Tensor) -> _Sight:
    """The masks of the true poses; what the predicted bodies explain without their arms."""
    camera, (_, armless, whole) = _cameras(len(true)), cpu_cascade().stages
    drawn = [
        skeleton_mask(camera.project(per_view(joints, 4)), *stage_bones(stage, H36M_18), size=64)
        for stage, joints in ((whole, true), (armless, predicted))
    ]
    views = torch.ones(len(true), 4, dtype=torch.bool)
    return _Sight(mask=(drawn[0] > 0.35).float(), explained=drawn[1], camera=camera, views=views)


def _search(predicted: torch.Tensor, sight: _Sight) -> torch.Tensor:
    return search_arms(predicted, **sight._asdict(), skeleton=H36M_18)


def _errors_mm(found: torch.Tensor, true: torch.Tensor, joint: str) -> torch.Tensor:
    return (found - true)[:, H36M_18.index(joint)].norm(dim=-1)


@pytest.mark.parametrize(
    ("arm", "before_mm", "median_mm", "worst_mm"), [(UP, 1100.0, 100.0, 160.0), (ASIDE, 750.0, 130.0, 320.0)]
)
def test_an_arm_that_the_pose_has_hanging_is_found_where_the_masks_have_it(arm, before_mm, median_mm, worst_mm):
    """The tried directions are 25 degrees apart; half of that is 120 mm at the wrist of an outstretched arm."""
    true, hanging = _people(arm, DOWN), _people(DOWN, DOWN)
    found = _search(hanging, _sight(true, hanging))
    assert _errors_mm(hanging, true, "left_wrist").min() > before_mm
    errors = _errors_mm(found, true, "left_wrist")
    assert errors.median() < median_mm
    assert errors.max() < worst_mm
    assert _errors_mm(found, true, "left_elbow").median() < 130.0
    # The other one is not drawn to it.
    for joint in ("right_elbow", "right_wrist"):
        assert _errors_mm(found, true, joint).median() < 130.0


def test_it_is_the_sides_own_arm_that_is_found():
    true, hanging = _people(DOWN, UP), _people(DOWN, DOWN)
    found = _search(hanging, _sight(true, hanging))
    assert _errors_mm(found, true, "right_wrist").max() < 160.0
    assert _errors_mm(found, true, "left_wrist").median() < 130.0


def test_bones_have_average_lengths_and_other_joints_stay():
    true, hanging = _people(UP, ASIDE), _people(DOWN, DOWN)
    found = _search(hanging, _sight(true, hanging))
    others = [index for index in range(18) if index not in ARMS]
    assert torch.equal(found[:, others], hanging[:, others])
    for side in ("left", "right"):
        shoulder, elbow, wrist = (found[:, H36M_18.index(f"{side}_{j}")] for j in ("shoulder", "elbow", "wrist"))
        upper, fore = (elbow - shoulder).norm(dim=-1), (wrist - elbow).norm(dim=-1)
        torch.testing.assert_close(upper, torch.full((12,), UPPER_ARM * STATURE_MM), rtol=1e-3, atol=0)
        torch.testing.assert_close(fore, torch.full((12,), FOREARM * STATURE_MM), rtol=1e-3, atol=0)


def test_beyond_every_edge_of_the_map_lies_its_edge():
    camera = for_batch(Camera(K=torch.eye(3), R=torch.eye(3), t_mm=torch.tensor([0.0, 0.0, 1000.0])), 1)
    camera = Camera(K=camera.K[:, None], R=camera.R[:, None], t_mm=camera.t_mm[:, None])
    points = torch.tensor([[[5000.0, 0.0, 0.0], [-5000.0, 0.0, 0.0], [0.0, 5000.0, 0.0], [0.0, -5000.0, 0.0]]])
    assert _look(torch.full((1, 1, 64, 64), -0.15), camera, points).tolist() == [[pytest.approx(-0.15)] * 4]


def test_views_that_are_not_there_are_not_looked_at():
    true, hanging = _people(UP, DOWN), _people(DOWN, DOWN)
    sight = _sight(true, hanging)
    views = sight.views.clone()
    views[:, 3] = False
    misleading = sight.mask.clone()
    misleading[:, 3] = 1.0
    found = _search(hanging, sight._replace(views=views))
    assert torch.equal(found, _search(hanging, sight._replace(views=views, mask=misleading)))
    assert not torch.equal(found, _search(hanging, sight._replace(mask=misleading)))


def test_a_pose_without_views_stays_as_it_is():
    true, hanging = _people(UP, DOWN), _people(DOWN, DOWN)
    sight = _sight(true, hanging)
    views = sight.views.clone()
    views[:6] = False
    found = _search(hanging, sight._replace(views=views))
    assert torch.equal(found[:6], hanging[:6])
    assert torch.equal(found[6:], _search(hanging, sight)[6:])


@pytest.mark.parametrize("joints", ["hanging", "all in one place"])
@pytest.mark.parametrize("filled", [0.0, 1.0])
def test_empty_and_full_masks_are_survived(joints, filled):
    poses = _people(DOWN, DOWN) if joints == "hanging" else torch.zeros(12, 18, 3)
    sight = _sight(poses, poses)
    found = _search(poses, sight._replace(mask=torch.full_like(sight.mask, filled)))
    assert torch.isfinite(found).all()


def test_where_the_masks_say_nothing_arms_stay_near_the_prediction():
    raised = _people(UP, DOWN)
    sight = _sight(raised, raised)
    nothing_new = sight._replace(mask=torch.ones_like(sight.mask), explained=torch.ones_like(sight.mask))
    found = _search(raised, nothing_new)
    for joint in ("left_elbow", "left_wrist", "right_elbow", "right_wrist"):
        assert _errors_mm(found, raised, joint).max() < 180.0


def test_it_repeats_and_poses_do_not_influence_each_other():
    true, hanging = _people(UP, ASIDE), _people(DOWN, DOWN)
    found = _search(hanging, _sight(true, hanging))
    assert torch.equal(found, _search(hanging, _sight(true, hanging)))
    alone = _sight(true, hanging)
    camera = Camera(K=alone.camera.K[4:5], R=alone.camera.R[4:5], t_mm=alone.camera.t_mm[4:5])
    one = _Sight(mask=alone.mask[4:5], explained=alone.explained[4:5], camera=camera, views=alone.views[4:5])
    torch.testing.assert_close(_search(hanging[4:5], one), found[4:5])
