import pytest
import torch
from rigs import ring

from mas_ray.geometry.chirality import knee_chirality
from mas_ray.geometry.naming import link_names, search_names, swap_sides
from mas_ray.geometry.triangulation import per_view
from mas_ray.skeleton import H36M_18


def _standing_person(heading: float) -> torch.Tensor:
    lateral = {"hip": 100, "knee": 120, "ankle": 130, "shoulder": 180, "elbow": 280, "wrist": 350}
    height = {"hip": 900, "knee": 480, "ankle": 80, "shoulder": 1400, "elbow": 1130, "wrist": 880}
    middle = {"pelvis": 900, "spine": 1150, "thorax": 1400, "neck": 1450, "nose": 1560, "head": 1680}
    across = torch.tensor([torch.cos(torch.tensor(heading)), torch.sin(torch.tensor(heading)), 0.0])
    joints = []
    for name in H36M_18.joints:
        part = name.split("_")[-1]
        side = {"left": 1.0, "right": -1.0}.get(name.split("_")[0], 0.0)
        up = torch.tensor([0.0, 0.0, float(height.get(part) or middle[part])])
        joints.append(across * side * lateral.get(part, 0) + up)
    return torch.stack(joints).double()


def test_the_pattern_of_the_views_is_found_and_one_bit_stays_free():
    camera = ring(4)
    joints = torch.stack([_standing_person(0.2), _standing_person(1.9), _standing_person(4.0)])
    keypoints = camera.project(per_view(joints, 4))
    weight = torch.ones(keypoints.shape[:-1], dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    flipped_views = torch.rand(3, 4, generator=generator) < 0.5
    legs_only = torch.tensor([name.split("_")[-1] in ("hip", "knee", "ankle") for name in H36M_18.joints])
    flips = flipped_views[..., None] & legs_only | (~flipped_views)[..., None] & ~legs_only
    confused = swap_sides(keypoints, flips, H36M_18)
    resolved = swap_sides(confused, search_names(confused, camera, weight, H36M_18), H36M_18)
    mirrored = keypoints[..., list(H36M_18.mirror_permutation), :]
    for person in range(3):
        same = torch.allclose(resolved[person], keypoints[person])
        opposite = torch.allclose(resolved[person], mirrored[person])
        assert same or opposite
        first_leg_kept = not bool(flipped_views[person, 0])
        assert same == first_leg_kept


@pytest.mark.parametrize("used", [(2,), (3,), (2, 3), (1, 2, 3), (0, 3)])
def test_the_first_view_that_counts_keeps_its_names(used):
    """Without the view that no pattern swaps, a pattern and its opposite differ by rounding alone."""
    camera = ring(4)
    joints = torch.stack([_standing_person(0.3 * person) for person in range(20)])
    noise = torch.randn(20, 4, 18, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    flipped = torch.rand(20, 4, generator=torch.Generator().manual_seed(4)) < 0.5
    keypoints = camera.project(per_view(joints, 4)) + 0.01 * noise
    confused = swap_sides(keypoints, flipped[..., None].expand(keypoints.shape[:-1]), H36M_18)
    weight = torch.zeros(keypoints.shape[:-1], dtype=torch.float64)
    weight[:, list(used)] = 1.0
    swap = search_names(confused, camera, weight, H36M_18)
    assert not swap[:, used[0]].any()
    if len(used) == 1:
        assert not swap.any()
    else:
        for view in used:
            same_as_first = flipped[:, view] == flipped[:, used[0]]
            legs_and_arms = swap[:, view, torch.tensor(H36M_18.mirror_permutation) != torch.arange(18)]
            assert torch.equal(legs_and_arms.all(-1), ~same_as_first)
            assert torch.equal(legs_and_arms.any(-1), ~same_as_first)


def _walk() -> torch.Tensor:
    """A take of one person who turns about while bending the knees forward (y, as seen at heading 0)."""
    poses = []
    for instant in range(20):
        heading = 0.15 * instant
        pose = _standing_person(heading)
        ahead = torch.tensor([-torch.sin(torch.tensor(heading)), torch.cos(torch.tensor(heading)), 0.0])
        for side in ("left", "right"):
            # Up x left = ahead for somebody whose left is at +x and whose up is z: (0,0,1) x (1,0,0) = (0,1,0).
            pose[H36M_18.index(f"{side}_knee")] -= 60.0 * ahead
        poses.append(pose + torch.tensor([30.0 * instant, 0.0, 0.0]))
    return torch.stack(poses)


def test_names_are_linked_through_a_take_and_signed_by_its_knees():
    joints = _walk()
    mirrored = joints[:, list(H36M_18.mirror_permutation)]
    wrong = torch.rand(len(joints), generator=torch.Generator().manual_seed(2)) < 0.5
    confused = torch.where(wrong[:, None, None], mirrored, joints)
    swap = link_names(confused, H36M_18)
    assert bool((swap == wrong).all()) != bool((swap == ~wrong).all())
    linked = swap_sides(confused, swap[:, None].expand(confused.shape[:-1]), H36M_18)
    chirality = knee_chirality(linked, H36M_18)
    assert chirality is not None
    assert chirality.mean_mm > 20
    assert torch.equal(link_names(mirrored, H36M_18), ~link_names(joints, H36M_18))


def test_a_take_of_one_pose_is_signed_by_its_knees():
    joints = _walk()[:1]
    mirrored = joints[:, list(H36M_18.mirror_permutation)]
    assert link_names(joints, H36M_18).item() != link_names(mirrored, H36M_18).item()
