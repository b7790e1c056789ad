from dataclasses import replace

import numpy as np
import pytest
import torch

from mas_ray.config.cascade import cpu_cascade, paper_cascade
from mas_ray.shards.manifest import read_manifest
from mas_ray.skeleton import H36M_18
from mas_ray.training.data import open_split
from mas_ray.training.objective import StageObjective
from mas_ray.training.order import draw_warps
from mas_ray.training.state import create_state

LATE = 10_000


@pytest.fixture(scope="module")
def batch(tiny_dataset):
    manifest = read_manifest(tiny_dataset.manifest)
    return open_split(tiny_dataset.manifest.parent, manifest, "train", cpu_cascade()).batch(np.arange(3))


def _objective(stage_index, cascade=None):
    cascade = cascade or cpu_cascade()
    state = create_state(cascade, H36M_18, torch.device("cpu"))
    stage = cascade.stages[stage_index]
    return StageObjective(state.detector, state.shape_prior, stage=stage, cascade=cascade, skeleton=H36M_18)


def _warps(num_views=4):
    everywhere = torch.ones(3, num_views, dtype=torch.bool)
    return draw_warps(np.arange(3), everywhere, num_warped=1, scale=0.05, seed=0, step=0)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_every_parameter_that_wants_a_gradient_gets_a_finite_one(batch, stage):
    objective = _objective(stage)
    objective(batch, _warps(), LATE).total.backward()
    for parameter in objective.parameters():
        assert (parameter.grad is not None) == parameter.requires_grad
        if parameter.grad is not None:
            assert torch.isfinite(parameter.grad).all()


def test_terms_act_when_the_stage_says(batch):
    objective = _objective(0)
    early, late = (objective(batch, _warps(), step).as_floats() for step in (0, LATE))
    assert early["skeleton_mask"] == early["depth"] == early["limb_equality"] == 0.0
    assert early["anchor"] > 0.0
    assert late["anchor"] == late["physique_mask"] == late["tied_limbs"] == 0.0
    assert min(late[name] for name in ("skeleton_mask", "depth", "limb_equality", "equivariance")) > 0.0
    assert late["total"] == pytest.approx(sum(value for name, value in late.items() if name != "total"))


def test_single_view_frame_sets_go_through_the_same_code(batch):
    alone = replace(batch, valid=torch.tensor([[True, False, False, False]]).expand(3, 4).clone())
    losses = _objective(2)(alone, _warps(), LATE).as_floats()
    assert losses["consistency"] == losses["depth"] == losses["limb_equality"] == 0.0
    assert losses["skeleton_mask"] > 0.0


def test_an_absent_view_counts_for_nothing(batch):
    valid = batch.valid.clone()
    valid[:, 3] = False
    scrambled = {name: getattr(batch, name).clone() for name in ("image", "mask", "K", "R", "t_mm")}
    for values in scrambled.values():
        values[:, 3] = values[:, 3].flip(-1)
    objective = _objective(2)
    one = objective(replace(batch, valid=valid), None, LATE).as_floats()
    other = objective(replace(batch, valid=valid, **scrambled), None, LATE).as_floats()
    # The rig's centre, about which triangulation is formed, moves with an absent camera: rounding, no more.
    assert one == pytest.approx(other, rel=1e-3, abs=1e-6)


def test_loss_of_a_batch_is_the_mean_of_its_frame_sets(batch):
    objective = _objective(2)
    names = batch.__dataclass_fields__
    singles = [type(batch)(**{name: getattr(batch, name)[i : i + 1] for name in names}) for i in range(3)]
    parts = torch.stack([objective(single, None, LATE).total for single in singles])
    torch.testing.assert_close(objective(batch, None, LATE).total, parts.mean(), rtol=1e-4, atol=0)


def test_the_papers_cascade_runs(batch, tiny_dataset):
    detector = replace(
        paper_cascade().detector, backbone="resnet18", width=16, head_width=16, input_size=64, heatmap_size=16
    )
    cascade = replace(paper_cascade(), detector=detector, mask_size=64)
    for stage in range(3):
        losses = _objective(stage, cascade)(batch, _warps(), LATE).as_floats()
        assert np.isfinite(losses["total"])
