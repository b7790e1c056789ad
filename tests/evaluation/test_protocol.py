from __future__ import annotations

import dataclasses

import pytest
import torch

from mas_ray.evaluation.comparison import Comparison, ViewGeometry, compare, concatenate
from mas_ray.evaluation.protocol import evaluate_comparison
from mas_ray.evaluation.record import (
    JOINT_GROUPS,
    Evaluation,
    EvaluationSource,
    ReferenceFault,
    read_evaluation,
    write_evaluation,
)
from mas_ray.geometry.camera import Camera
from mas_ray.geometry.pixel_grid import ndc_from_pixel
from mas_ray.inference import PosePrediction
from mas_ray.skeleton import H36M_18

CROP_PX = 256
FRAMES, VIEWS = 6, 4
SOURCE = EvaluationSource(
    checkpoint="run/checkpoint",
    corpus="studio",
    split="test",
    reference="triangulated reference",
    num_frame_sets=FRAMES,
    num_without_reference=0,
    takes=("dance",),
    takes_also_trained_on=("dance",),
    faults=(),
)
EVERYWHERE = torch.ones(FRAMES, dtype=torch.bool)


def _rig(num_views: int = VIEWS) -> ViewGeometry:
    """Cameras on a circle of 4 m about the origin, looking inwards, z up; a crop around the image's middle."""
    K, R, t_mm = [], [], []
    for angle in torch.linspace(0, 4.5, num_views + 1, dtype=torch.float64)[:-1]:
        forward = torch.stack([-torch.cos(angle), -torch.sin(angle), torch.zeros_like(angle)])
        down = torch.tensor([0.0, 0.0, -1.0]).double()
        rotation = torch.stack([torch.linalg.cross(down, forward), down, forward])
        K.append(torch.tensor([[1100.0, 0.0, 480.0], [0.0, 1100.0, 270.0], [0.0, 0.0, 1.0]]).double())
        R.append(rotation)
        t_mm.append(-rotation @ (-4000.0 * forward))
    camera = Camera(
        K=torch.stack(K).expand(FRAMES, -1, 3, 3),
        R=torch.stack(R).expand(FRAMES, -1, 3, 3),
        t_mm=torch.stack(t_mm).expand(FRAMES, -1, 3),
    )
    crop = torch.tensor([[0.4, 0.0, -60.0], [0.0, 0.4, 20.0]]).double().expand(FRAMES, num_views, 2, 3)
    return ViewGeometry(camera=camera, crop_from_image=crop, calibrated=torch.ones(FRAMES, num_views, dtype=torch.bool))


def _figures() -> torch.Tensor:
    """Standing people of random shape, knees in front."""
    from_standard = torch.zeros(18, 3, dtype=torch.float64)
    for joint, place in {
        "thorax": (0, 0, 500), "neck": (0, 0, 560), "nose": (0, 90, 600), "head": (0, 40, 720), "spine": (0, 0, 250),
        "left_hip": (-120, 0, 0), "left_knee": (-130, 60, -430), "left_ankle": (-130, 0, -850),
        "left_shoulder": (-180, 0, 470), "left_elbow": (-300, 30, 250), "left_wrist": (-330, 180, 90),
    }.items():  # fmt: skip
        from_standard[H36M_18.index(joint)] = torch.tensor(place).double()
        if joint.startswith("left_"):
            right = torch.tensor((-place[0], place[1], place[2])).double()
            from_standard[H36M_18.index(joint.replace("left", "right"))] = right
    noise = torch.randn(FRAMES, 18, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return from_standard + 15 * noise


def _perfect(reference_mm: torch.Tensor, geometry: ViewGeometry) -> PosePrediction:
    num_views = geometry.calibrated.shape[1]
    in_views = reference_mm.unsqueeze(1).expand(-1, num_views, -1, -1)
    camera = geometry.camera
    depth = camera.camera_from_world(in_views)[..., 2]
    crop_px = camera.after_crop(geometry.crop_from_image).project(in_views)
    return PosePrediction(
        take_id=("dance",) * FRAMES,
        instant=tuple(range(FRAMES)),
        timestamp_s=tuple(n / 25 for n in range(FRAMES)),
        views=(tuple(f"cam{n}" for n in range(num_views)),) * FRAMES,
        keypoints_px=camera.project(in_views).float(),
        keypoints_crop_ndc=ndc_from_pixel(crop_px, CROP_PX).float(),
        depth_mm=(depth - depth[..., :1]).float(),
        confidence=torch.ones(FRAMES, num_views, 18),
        valid=torch.ones(FRAMES, num_views, dtype=torch.bool),
        joints_world_mm=reference_mm.float(),
    )


def _compare(prediction: PosePrediction, geometry: ViewGeometry, reference_mm: torch.Tensor) -> Comparison:
    root = H36M_18.index("pelvis")
    return compare(prediction, geometry, reference_mm=reference_mm, crop_size_px=CROP_PX, root=root)


def _evaluate(comparison: Comparison, source: EvaluationSource = SOURCE) -> Evaluation:
    takes = ("dance", "dance", "walk") * (len(comparison.reference_mm) // 3)
    return evaluate_comparison(comparison, H36M_18, source=source, takes=takes, actions=takes)


def _errors(evaluation: Evaluation, handling: str) -> list[float]:
    accuracy = next(a for a in evaluation.accuracy if a.handling == handling)
    assert accuracy.triangulated is not None
    assert accuracy.monocular is not None
    assert accuracy.keypoints is not None
    return [accuracy.triangulated.mpjpe_mm, accuracy.monocular.mpjpe_mm, accuracy.keypoints.percent_of_crop]


def test_a_perfect_prediction_has_no_error_of_any_kind():
    geometry, reference = _rig(), _figures()
    evaluation = _evaluate(_compare(_perfect(reference, geometry), geometry, reference))
    for accuracy in evaluation.accuracy:
        assert _errors(evaluation, accuracy.handling) == pytest.approx([0, 0, 0], abs=5e-3)
        assert accuracy.exchanged_fraction == 0
    assert evaluation.ambiguity_ratio == 0
    assert evaluation.knee_chirality is not None
    assert evaluation.knee_chirality.mean_mm > 30
    assert [j.joint for j in evaluation.accuracy[0].joints] == list(H36M_18.joints)


def test_a_full_swap_is_seen_raw_and_undone_by_the_bit_and_by_the_oracle():
    geometry, reference = _rig(), _figures()
    swapped = _compare(_perfect(reference, geometry), geometry, reference).with_sides_exchanged(EVERYWHERE, H36M_18)
    evaluation = _evaluate(swapped)
    assert min(_errors(evaluation, "raw")) > 1
    assert _errors(evaluation, "global_bit") == pytest.approx([0, 0, 0], abs=5e-3)
    assert _errors(evaluation, "oracle_pose") == pytest.approx([0, 0, 0], abs=5e-3)
    assert evaluation.under("global_bit").exchanged_fraction == 1
    assert evaluation.ambiguity_ratio == 0


def test_the_oracle_decides_per_frame_and_the_bit_cannot():
    geometry, reference = _rig(), _figures()
    some = torch.tensor([True, False, False, True, False, False])
    swapped = _compare(_perfect(reference, geometry), geometry, reference).with_sides_exchanged(some, H36M_18)
    evaluation = _evaluate(swapped)
    assert _errors(evaluation, "oracle_pose") == pytest.approx([0, 0, 0], abs=5e-3)
    assert evaluation.under("oracle_pose").exchanged_fraction == pytest.approx(2 / 6)
    assert _errors(evaluation, "global_bit") == _errors(evaluation, "raw")


def test_views_that_disagree_about_the_sides_raise_r():
    geometry, reference = _rig(), _figures()
    prediction = _perfect(reference, geometry)
    mirror = list(H36M_18.mirror_permutation)
    keypoints = prediction.keypoints_crop_ndc.clone()
    keypoints[:, 0] = keypoints[:, 0][:, mirror]
    prediction = dataclasses.replace(prediction, keypoints_crop_ndc=keypoints)
    assert _evaluate(_compare(prediction, geometry, reference)).ambiguity_ratio == 0.25


def test_a_wrong_depth_hurts_the_monocular_pose_alone():
    geometry, reference = _rig(), _figures()
    prediction = _perfect(reference, geometry)
    depth = prediction.depth_mm.clone()
    depth[..., H36M_18.index("head")] += 180.0
    evaluation = _evaluate(_compare(dataclasses.replace(prediction, depth_mm=depth), geometry, reference))
    triangulated, monocular, percent = _errors(evaluation, "raw")
    assert (triangulated, percent) == pytest.approx((0, 0), abs=5e-3)
    assert 9.5 < monocular < 11.5  # 180 mm over 18 joints, along a ray that is a little oblique


def test_every_joint_is_in_one_group():
    assert sorted(joint for joints in JOINT_GROUPS.values() for joint in joints) == sorted(H36M_18.joints)


@pytest.mark.parametrize(("joint", "group"), [("left_wrist", "arms"), ("right_ankle", "legs"), ("thorax", "trunk")])
def test_an_error_shows_in_its_own_group_alone(joint, group):
    geometry, reference = _rig(), _figures()
    comparison = _compare(_perfect(reference, geometry), geometry, reference)
    comparison.triangulated_mm[:, H36M_18.index(joint), 0] += 60.0
    comparison.keypoints_ndc[..., H36M_18.index(joint), 0] += 0.2  # 10 % of the side
    groups = {found.group: found for found in _evaluate(comparison).under("raw").groups}
    assert list(groups) == list(JOINT_GROUPS)
    size = len(JOINT_GROUPS[group])
    assert groups[group].triangulated_mm == pytest.approx(60 / size, abs=0.01)
    assert groups[group].percent_of_crop == pytest.approx(10 / size, abs=0.01)
    assert groups[group].monocular_mm == pytest.approx(0, abs=0.01)
    for other in groups.keys() - {group}:
        assert groups[other].triangulated_mm == pytest.approx(0, abs=0.01)
        assert groups[other].percent_of_crop == pytest.approx(0, abs=0.01)


def test_the_groups_weighted_by_their_joints_are_the_whole():
    geometry, reference = _rig(), _figures()
    comparison = _compare(_perfect(reference, geometry), geometry, reference)
    noise = torch.randn(comparison.keypoints_ndc.shape, generator=torch.Generator().manual_seed(2)).double()
    spoilt = dataclasses.replace(comparison, keypoints_ndc=comparison.keypoints_ndc + 0.05 * noise)
    accuracy = _evaluate(spoilt.with_sides_exchanged(EVERYWHERE, H36M_18)).under("raw")
    assert accuracy.triangulated is not None
    assert accuracy.keypoints is not None

    def whole(field: str) -> float:
        return sum(getattr(found, field) * len(JOINT_GROUPS[found.group]) for found in accuracy.groups) / 18

    assert accuracy.triangulated.mpjpe_mm > 100
    assert whole("triangulated_mm") == pytest.approx(accuracy.triangulated.mpjpe_mm)
    assert whole("percent_of_crop") == pytest.approx(accuracy.keypoints.percent_of_crop)


def test_uncalibrated_views_and_invalid_joints_do_not_count():
    geometry, reference = _rig(), _figures()
    prediction = _perfect(reference, geometry)
    calibrated = geometry.calibrated.clone()
    calibrated[:, 1:] = False
    spoilt = dataclasses.replace(prediction, joints_world_mm=torch.full_like(prediction.joints_world_mm, torch.nan))
    reference = reference.clone()
    reference[:, H36M_18.index("head")] = torch.nan
    for joint in JOINT_GROUPS["arms"]:
        reference[:, H36M_18.index(joint)] = torch.nan
    comparison = _compare(spoilt, dataclasses.replace(geometry, calibrated=calibrated), reference)
    evaluation = _evaluate(comparison)
    raw = evaluation.under("raw")
    assert raw.triangulated is None
    assert raw.monocular is not None
    assert raw.monocular.num_poses == FRAMES
    assert raw.keypoints is not None
    assert raw.keypoints.num_views == FRAMES
    assert evaluation.ambiguity_ratio is None
    assert evaluation.knee_chirality is None
    assert raw.joints[H36M_18.index("head")].percent_of_crop is None
    trunk, _, arms = raw.groups
    assert trunk.triangulated_mm is None
    assert trunk.percent_of_crop == pytest.approx(0, abs=5e-3)
    assert arms.percent_of_crop is None


def test_comparisons_of_different_numbers_of_views_concatenate():
    reference = _figures()
    parts = [_compare(_perfect(reference, _rig(n)), _rig(n), reference) for n in (4, 2)]
    joined = concatenate(parts)
    assert joined.keypoints_px.shape == (2 * FRAMES, 4, 18, 2)
    accuracy = _evaluate(joined).under("raw")
    assert accuracy.keypoints is not None
    assert accuracy.keypoints.num_views == 6 * FRAMES
    assert joined.of_frames(torch.arange(2 * FRAMES) < 2).reference_mm.shape == (2, 18, 3)


def test_an_evaluation_survives_its_file(tmp_path):
    geometry, reference = _rig(), _figures()
    evaluation = _evaluate(_compare(_perfect(reference, geometry), geometry, reference))
    path = tmp_path / "out" / "evaluation.json"
    write_evaluation(path, evaluation)
    assert read_evaluation(path) == evaluation
    assert [p.name for p in path.parent.iterdir()] == ["evaluation.json"]


def test_what_is_no_evaluation_is_named(tmp_path):
    path = tmp_path / "evaluation.json"
    with pytest.raises(ValueError, match=r"evaluation\.json: no such evaluation"):
        read_evaluation(path)
    geometry, reference = _rig(), _figures()
    evaluation = _evaluate(_compare(_perfect(reference, geometry), geometry, reference))
    write_evaluation(path, dataclasses.replace(evaluation, format="other"))
    with pytest.raises(ValueError, match=r"evaluation\.json: format 'other', expected"):
        read_evaluation(path)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"evaluation\.json: not valid JSON"):
        read_evaluation(path)


def test_a_file_of_the_format_before_is_said_to_be_one_not_to_lack_a_field(tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text('{"format": "mas-ray evaluation 1", "accuracy": [{"handling": "raw"}]}')
    with pytest.raises(
        ValueError, match=r"evaluation\.json: format 'mas-ray evaluation 1', expected .*; evaluate again"
    ):
        read_evaluation(path)


def _two_actions() -> Comparison:
    """Frames 2 and 5, the walk, are 60 mm off in one joint of 18 and in nothing else."""
    geometry, reference = _rig(), _figures()
    comparison = _compare(_perfect(reference, geometry), geometry, reference)
    joints_mm = comparison.triangulated_mm.clone()
    joints_mm[[2, 5], H36M_18.index("left_wrist"), 0] += 60.0
    return dataclasses.replace(comparison, triangulated_mm=joints_mm)


def test_each_action_has_its_own_errors():
    dance, walk = _evaluate(_two_actions()).under("raw").actions
    assert (dance.action, dance.num_frame_sets, walk.action, walk.num_frame_sets) == ("dance", 4, "walk", 2)
    assert dance.triangulated is not None
    assert walk.triangulated is not None
    assert dance.triangulated.mpjpe_mm == pytest.approx(0, abs=5e-3)
    assert walk.triangulated.mpjpe_mm == pytest.approx(60 / 18, abs=5e-3)


def test_takes_with_a_damaged_reference_are_left_out_once_more():
    fault = ReferenceFault(take_id="walk", fault="the wrist is off")
    evaluation = _evaluate(_two_actions(), dataclasses.replace(SOURCE, faults=(fault,)))
    assert _errors(evaluation, "raw")[0] == pytest.approx(60 / 18 / 3, abs=5e-3)
    (without, *_) = evaluation.accuracy_without_faults
    assert without.handling == "raw"
    assert without.triangulated is not None
    assert without.triangulated.mpjpe_mm == pytest.approx(0, abs=5e-3)
    assert without.triangulated.num_poses == 4
    assert _evaluate(_two_actions()).accuracy_without_faults == ()
