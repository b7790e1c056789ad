import pytest

from mas_ray.config.cascade import paper_cascade
from mas_ray.config.stage import LossWeights, StageConfig
from mas_ray.training import schedule


def _stage(**changes):
    base = {
        "name": "s",
        "bone_set": "tight",
        "learning_rates": ((2, 1e-3), (1, 1e-4)),
        "loss_weights": LossWeights(skeleton_mask=1.0),
        "geodesic_weighting": False,
    }
    return StageConfig(**(base | changes))


def test_mask_ramps_in_after_the_anchor_only_steps():
    stage = _stage(num_anchor_only_steps=10, mask_ramp_steps=3)
    factors = [schedule.mask_factor(stage, step) for step in (0, 9, 10, 11, 12, 13, 100)]
    assert factors == [0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_the_physique_mask_ramps_in_from_the_first_step():
    stage = _stage(physique_ramp_steps=3)
    assert [schedule.physique_factor(stage, step) for step in (0, 1, 2, 3, 100)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert {schedule.mask_factor(stage, step) for step in range(5)} == {1.0}
    assert [schedule.physique_factor(_stage(), step) for step in (0, 1)] == [1.0, 1.0]


def test_the_physique_masks_ramp_comes_on_top_of_the_masks():
    stage = _stage(num_anchor_only_steps=2, mask_ramp_steps=1, physique_ramp_steps=3)
    assert [schedule.mask_factor(stage, step) for step in range(5)] == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert [schedule.physique_factor(stage, step) for step in range(5)] == [0.0, 0.0, 0.375, 1.0, 1.0]


def test_triangulation_begins_after_the_direct_only_steps():
    stage = _stage(num_direct_only_steps=10)
    assert [schedule.uses_triangulation(stage, step) for step in (0, 9, 10)] == [False, False, True]
    assert schedule.uses_triangulation(_stage(), 0)


def test_anchor_fades_or_ends():
    fading = _stage(num_anchor_only_steps=10, num_anchor_steps=30, anchor_fades=True)
    assert [schedule.anchor_factor(fading, step) for step in (0, 9, 10, 20, 30)] == [1.0, 1.0, 1.0, 0.5, 0.0]
    paper = paper_cascade().stages[0]
    assert [schedule.anchor_factor(paper, step) for step in (0, 399, 400)] == [1.0, 1.0, 0.0]


def test_tied_limbs_end():
    paper = paper_cascade().stages[1]
    assert [schedule.tied_limbs_factor(paper, step) for step in (0, 599, 600)] == [1.0, 1.0, 0.0]


def test_learning_rates_by_epoch():
    assert [_stage().learning_rate(epoch) for epoch in range(3)] == [1e-3, 1e-3, 1e-4]
    with pytest.raises(ValueError, match="stage 's' has 3 epochs only"):
        _stage().learning_rate(3)


def test_the_papers_numbers():
    torso, shape_prior, limbs = paper_cascade().stages
    assert (torso.num_epochs, shape_prior.num_epochs, limbs.num_epochs) == (15, 5, 25)
    assert [s.loss_weights.skeleton_mask for s in (torso, shape_prior, limbs)] == [10.0, 1.0, 2.0]
    assert [s.loss_weights.physique_mask for s in (torso, shape_prior, limbs)] == [0.0, 4.0, 1.5]
    assert [s.geodesic_weighting for s in (torso, shape_prior, limbs)] == [True, False, True]
    assert limbs.learning_rate(13) == 2e-4
    assert limbs.learning_rate(14) == 1e-4
