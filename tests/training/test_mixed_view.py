from dataclasses import replace

import numpy as np
import pytest
import torch
from single_views import write_single_views

from mas_ray.config.cascade import CascadeConfig, cpu_cascade, mixed_view_finetune, paper_cascade
from mas_ray.shards.manifest import read_manifest
from mas_ray.shards.read import read_split
from mas_ray.skeleton import H36M_18
from mas_ray.training.data import FrameSets
from mas_ray.training.loop import Worker, run_stage
from mas_ray.training.objective import StageObjective
from mas_ray.training.state import create_state

ACROSS_VIEWS = ("consistency", "depth", "limb_equality", "leg_proportions")


class _Recorded(FrameSets):
    """Frame sets that note which rows were read."""

    def __init__(self, *args):
        super().__init__(*args)
        self.read = []

    def batch(self, rows):
        self.read.append(rows.tolist())
        return super().batch(rows)


class _Training:
    def __init__(self, datasets, cascade):
        self.cascade = cascade
        self.multi, self.single = (_open(path, cascade) for path in datasets)
        self.state = create_state(cascade, H36M_18, torch.device("cpu"))
        self.objective = StageObjective(
            self.state.detector, self.state.shape_prior, stage=cascade.stages[0], cascade=cascade, skeleton=H36M_18
        )

    def run(self, **worker):
        return list(
            run_stage(
                self.state,
                self.objective,
                self.multi,
                cascade=self.cascade,
                stage=0,
                single_view=self.single,
                worker=Worker(**worker),
            )
        )


def _open(path, cascade):
    manifest = read_manifest(path)
    return _Recorded(list(read_split(path.parent, manifest, "train")), manifest.view_slots, cascade)


def _cascade(share=0.5, epochs=2, steps=4) -> CascadeConfig:
    cascade = mixed_view_finetune(cpu_cascade(), single_view_share=share)
    return replace(
        cascade, stages=(replace(cascade.stages[0], learning_rates=((epochs, 1e-3),)),), steps_per_epoch=steps
    )


@pytest.fixture(scope="module")
def datasets(tiny_dataset, tmp_path_factory):
    """The manifests of many views and of single ones."""
    return tiny_dataset.manifest, write_single_views(tmp_path_factory.mktemp("single"), tiny_dataset.manifest)


def test_a_stage_trains_on_both_kinds_of_batches_in_turn(datasets):
    training = _Training(datasets, _cascade())
    before = {name: value.clone() for name, value in training.state.detector.state_dict().items()}
    steps = training.run()
    assert [step.num_images for step in steps] == [16, 4] * 4
    for step in steps:
        assert np.isfinite([*step.losses.values(), step.gradient_norm]).all()
        assert step.losses["skeleton_mask"] > 0
        assert step.losses["equivariance"] > 0
        for name in ACROSS_VIEWS:
            assert (step.losses[name] > 0) == (step.num_images == 16), name
    after = training.state.detector.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_an_uncalibrated_view_is_a_view_alone(datasets):
    training = _Training(datasets, _cascade())
    batch = training.single.batch(np.arange(4))
    assert batch.valid.shape == (4, 1)
    assert batch.valid.all()
    assert not batch.calibrated.any()


@pytest.mark.parametrize("resolve_names", [False, True])
def test_single_views_give_every_parameter_a_finite_gradient(datasets, resolve_names):
    cascade = _cascade()
    cascade = replace(cascade, stages=(replace(cascade.stages[0], resolve_names=resolve_names),))
    training = _Training(datasets, cascade)
    training.objective(training.single.batch(np.arange(4)), None, 0).total.backward()
    for name, parameter in training.objective.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_two_workers_share_every_batch_of_either_kind(datasets):
    def read(**worker):
        training = _Training(datasets, _cascade(epochs=1))
        training.run(**worker)
        return [*training.multi.read, *training.single.read]

    together = read()
    halves = [read(rank=rank, world_size=2) for rank in range(2)]
    assert [len(rows) for rows in together] == [4] * 4
    for whole, even, odd in zip(together, *halves, strict=True):
        assert (whole[::2], whole[1::2]) == (even, odd)


def test_a_resumed_stage_reads_the_rest_of_the_same_batches(datasets):
    """Epochs of three steps at a share of a half: every other epoch begins with a single view."""
    whole, resumed = (_Training(datasets, _cascade(epochs=3, steps=3)) for _ in range(2))
    undisturbed = whole.run()
    resumed.state.epoch = 1
    rest = resumed.run()
    assert [(s.step, s.num_images) for s in rest] == [(s.step, s.num_images) for s in undisturbed[3:]]
    assert resumed.multi.read == whole.multi.read[2:]
    assert resumed.single.read == whole.single.read[1:]
    assert len(whole.multi.read) == 5


def test_the_control_takes_as_many_steps_without_single_views(datasets):
    control = _Training(datasets, _cascade(share=0.0))
    assert [step.num_images for step in control.run()] == [16] * 8
    assert control.single.read == []


def test_no_single_views_for_a_share_is_an_error(datasets):
    training = _Training(datasets, _cascade())
    training.single = None
    with pytest.raises(ValueError, match="single_view_share: stage 'mixed_view' has one, and no single views"):
        training.run()


def test_stages_of_one_run_have_orders_of_their_own(datasets):
    read = []
    cascade = _cascade(share=0.0, epochs=1)
    cascade = replace(cascade, stages=(*cascade.stages, replace(cascade.stages[0], name="again")))
    for stage in range(2):
        training = _Training(datasets, cascade)
        list(run_stage(training.state, training.objective, training.multi, cascade=cascade, stage=stage))
        read.append(training.multi.read)
    assert read[0] != read[1]


@pytest.mark.parametrize("base", [None, paper_cascade(), cpu_cascade()])
def test_the_recipe_is_the_last_stage_without_its_beginning(base):
    recipe, last = mixed_view_finetune(base), (base or paper_cascade()).stages[-1]
    (stage,) = recipe.stages
    assert (stage.name, stage.bone_set, stage.loss_weights) == ("mixed_view", "loose", last.loss_weights)
    assert stage.learning_rates == ((5, last.learning_rates[-1][1]),)
    assert stage.single_view_share == 0.5
    assert stage.teacher is None
    assert not stage.fresh_detector
    assert not any(getattr(stage, name) for name in vars(stage) if name.startswith("num_") or name.endswith("_steps"))
    assert recipe.detector == (base or paper_cascade()).detector
    control = mixed_view_finetune(base, single_view_share=0.0)
    assert control.stages == (replace(stage, single_view_share=0.0),)


def test_the_papers_rate():
    assert mixed_view_finetune().stages[0].learning_rates == ((5, 1e-4),)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_cannot_be_is_refused(share):
    with pytest.raises(ValueError, match="single_view_share: expected at least 0 and less than 1"):
        mixed_view_finetune(single_view_share=share)
