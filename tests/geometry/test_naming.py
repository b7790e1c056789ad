import torch
from rigs import ring

from mas_ray.geometry.naming import search_names, swap_sides
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
