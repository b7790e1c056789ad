from dataclasses import replace

import pytest

from mas_ray.skeleton import H36M_18


def test_tree_reaches_the_root_from_every_joint():
    for joint in range(H36M_18.num_joints):
        seen = 0
        while H36M_18.parents[joint] >= 0:
            joint, seen = H36M_18.parents[joint], seen + 1
            assert seen < H36M_18.num_joints
        assert H36M_18.joints[joint] == "pelvis"


def test_mirror_permutation_is_an_involution_that_keeps_the_middle():
    permutation = H36M_18.mirror_permutation
    assert [permutation[i] for i in permutation] == list(range(18))
    fixed = {name for i, name in enumerate(H36M_18.joints) if permutation[i] == i}
    assert fixed == {"pelvis", "spine", "thorax", "neck", "nose", "head"}


@pytest.mark.parametrize(("bone_set", "lines"), [("tight", 21), ("medium", 17), ("loose", 21), ("points", 18)])
def test_bone_sets_have_the_papers_sizes_and_both_sides(bone_set, lines):
    bones = H36M_18.bones(bone_set)
    assert len(bones) == len(set(bones)) == lines
    mirrored = {tuple(sorted((H36M_18.mirror_permutation[a], H36M_18.mirror_permutation[b]))) for a, b in bones}
    assert mirrored == {tuple(sorted(bone)) for bone in bones}


def test_only_loose_draws_arms_and_draws_them_thin():
    assert sum(H36M_18.is_arm_bone("loose")) == 4
    assert not any(H36M_18.is_arm_bone("tight") + H36M_18.is_arm_bone("medium"))


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown joint 'tail'; known: pelvis"):
        H36M_18.index("tail")
    with pytest.raises(ValueError, match="tail"):
        replace(H36M_18, mirror_pairs=(("tail", "head"),))
