"""Closed-form cases of the released evaluation's protocol, its lenient points included."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from test_protocol import FRAMES, VIEWS, _compare, _figures, _perfect, _rig

from mas_ray.evaluation.comparison import Comparison
from mas_ray.evaluation.metrics import n_mpjpe
from mas_ray.evaluation.paper_protocol import paper_protocol
from mas_ray.evaluation.record import PaperProtocol
from mas_ray.skeleton import H36M_18

MIRROR = list(H36M_18.mirror_permutation)
PAIRED = [n for n, other in enumerate(MIRROR) if n != other]


def _exact() -> Comparison:
    geometry, reference = _rig(), _figures()
    return _compare(_perfect(reference, geometry), geometry, reference)


def _measured(comparison: Comparison, actions: list[str] | None = None) -> PaperProtocol:
    found = paper_protocol(comparison, H36M_18, actions=actions or ["walk"] * len(comparison.reference_mm))
    assert found is not None
    return found


def _with_views_swapped(comparison: Comparison, views: list[int], joints: list[int]) -> Comparison:
    keypoints_px, monocular_mm = comparison.keypoints_px.clone(), comparison.monocular_mm.clone()
    mirrored = [MIRROR[joint] for joint in joints]
    for view in views:
        keypoints_px[:, view, joints] = comparison.keypoints_px[:, view, mirrored]
        monocular_mm[:, view, joints] = comparison.monocular_mm[:, view, mirrored]
    return dataclasses.replace(comparison, keypoints_px=keypoints_px, monocular_mm=monocular_mm)


def test_what_equals_the_reference_has_no_error():
    found = _measured(_exact())
    for handling in ("raw", "oracle_pairs"):
        errors = found.under(handling)
        assert errors.mpjpe_mm == pytest.approx(0, abs=5e-3)
        assert errors.n_mpjpe_mm == pytest.approx(0, abs=5e-3)
        assert errors.p_mpjpe_mm == pytest.approx(0, abs=5e-3)
        assert errors.percent_of_two_metres == pytest.approx(0, abs=5e-4)
        assert errors.pck_150_percent == 100
        assert errors.auc_150_percent == pytest.approx(100 * 30 / 31)
        assert errors.num_poses == FRAMES * VIEWS
    assert found.ambiguity_ratio == 0


def test_nothing_is_aligned():
    exact = _exact()
    moved = dataclasses.replace(exact, monocular_mm=exact.monocular_mm + torch.tensor([98.0, 0.0, 0.0]).double())
    errors = _measured(moved).under("raw")
    assert errors.mpjpe_mm == pytest.approx(98, abs=5e-3)
    assert errors.p_mpjpe_mm == pytest.approx(0, abs=5e-3)
    assert errors.pck_150_percent == 100
    assert errors.auc_150_percent == pytest.approx(100 * 11 / 31)


def test_the_unit_of_2d_errors_is_a_square_of_two_metres_at_the_pelvis():
    exact = _exact()
    pelvis_depth_mm = 4000.0 + 0.0 * exact.two_metres_px[..., 0]
    assert torch.allclose(exact.two_metres_px[..., 0], 1100.0 * 2000.0 / pelvis_depth_mm, rtol=0.02)
    moved = dataclasses.replace(
        exact, keypoints_px=exact.keypoints_px + 0.05 * exact.two_metres_px[:, :, None] * torch.tensor([1.0, 0.0])
    )
    assert _measured(moved).under("raw").percent_of_two_metres == pytest.approx(5.0, abs=5e-3)


def test_scaling_about_the_world_s_origin_hardly_corrects_size():
    geometry, reference = _rig(), _figures() + torch.tensor([900.0, 700.0, 0.0]).double()
    exact = _compare(_perfect(reference, geometry), geometry, reference)
    root = exact.monocular_mm[..., :1, :]
    shrunk = dataclasses.replace(exact, monocular_mm=root + 0.88 * (exact.monocular_mm - root))
    errors = _measured(shrunk).under("raw")
    valid = torch.ones(FRAMES * VIEWS, 18, dtype=torch.bool)
    references = reference.unsqueeze(1).expand(-1, VIEWS, -1, -1).flatten(0, 1)
    assert n_mpjpe(shrunk.monocular_mm.flatten(0, 1), references, valid, root=0) == pytest.approx(0, abs=5e-3)
    assert errors.n_mpjpe_mm > 0.6 * errors.mpjpe_mm > 20


def test_pairs_of_each_view_are_exchanged_for_the_reference():
    elbow = H36M_18.index("left_elbow")
    swapped = _with_views_swapped(_exact(), [1], [elbow, MIRROR[elbow]])
    found = _measured(swapped)
    assert found.under("raw").mpjpe_mm > 1
    assert found.under("oracle_pairs").mpjpe_mm == pytest.approx(0, abs=5e-3)
    assert found.under("oracle_pairs").percent_of_two_metres == pytest.approx(0, abs=5e-4)
    assert found.ambiguity_ratio == pytest.approx(2 / 18 * 1 / 4)


def test_r_is_a_third_at_most():
    found = _measured(_with_views_swapped(_exact(), [0, 2], PAIRED))
    assert found.ambiguity_ratio == pytest.approx(1 / 3)
    assert _measured(_with_views_swapped(_exact(), [0, 1, 2, 3], PAIRED)).ambiguity_ratio == 0


def test_actions_count_alike_however_long_they_are():
    exact = _exact()
    monocular_mm = exact.monocular_mm.clone()
    monocular_mm[4:] += torch.tensor([90.0, 0.0, 0.0]).double()
    moved = dataclasses.replace(exact, monocular_mm=monocular_mm)
    assert _measured(moved).under("raw").mpjpe_mm == pytest.approx(30, abs=5e-3)
    actions = ["eating"] * 4 + ["walk"] * 2
    assert _measured(moved, actions).under("raw").mpjpe_mm == pytest.approx(45, abs=5e-3)


def test_joints_and_views_that_are_not_there_do_not_count():
    exact = _exact()
    keypoints_px, reference_mm = exact.keypoints_px.clone(), exact.reference_mm.clone()
    monocular_mm = exact.monocular_mm.clone()
    keypoints_px[0, 1:], monocular_mm[0, 1:] = torch.nan, torch.nan
    reference_mm[1, 7] = torch.nan
    spoilt = dataclasses.replace(exact, keypoints_px=keypoints_px, monocular_mm=monocular_mm, reference_mm=reference_mm)
    found = _measured(spoilt)
    assert found.under("raw").num_poses == FRAMES * VIEWS - 3
    assert found.under("raw").mpjpe_mm == pytest.approx(0, abs=5e-3)
    nothing = dataclasses.replace(exact, keypoints_px=torch.full_like(keypoints_px, torch.nan))
    assert paper_protocol(nothing, H36M_18, actions=["walk"] * FRAMES) is None
