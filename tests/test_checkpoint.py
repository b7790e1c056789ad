import pickle

import pytest
import torch

from mas_ray.checkpoint import Progress, load_checkpoint, load_optimizer, save_checkpoint
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.jobs import TrainJob
from mas_ray.inference import PoseEstimator
from mas_ray.skeleton import H36M_18
from mas_ray.training.state import create_state

PROGRESS = Progress(stage=1, stage_name="shape_prior", num_epochs=3, num_steps=150, validation_reconstruction=0.5)


@pytest.fixture
def checkpoint(tmp_path):
    job = TrainJob(manifest="m.json", storage="runs", cascade=cpu_cascade())
    state = create_state(job.cascade, H36M_18, torch.device("cpu"))
    save_checkpoint(
        tmp_path,
        job,
        skeleton=H36M_18,
        progress=PROGRESS,
        detector=state.detector.state_dict(),
        shape_prior=state.shape_prior.state_dict(),
        optimizer=state.optimizer.state_dict(),
    )
    return tmp_path


def test_round_trip(checkpoint):
    loaded = load_checkpoint(checkpoint)
    assert loaded.progress == PROGRESS
    assert loaded.job.cascade == cpu_cascade()
    fresh = create_state(cpu_cascade(), H36M_18, torch.device("cpu"))
    for name, tensor in fresh.detector.state_dict().items():
        assert torch.equal(loaded.detector[name], tensor)
    fresh.optimizer.load_state_dict(load_optimizer(checkpoint))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: (c / "FORMAT").unlink(), "no checkpoint here"),
        (lambda c: (c / "FORMAT").write_text("mas-ray checkpoint 99"), "format 'mas-ray checkpoint 99', expected"),
        (lambda c: (c / "model.pt").write_bytes(b"PK\x03\x04 cut"), "model.pt: not a readable checkpoint file"),
        (
            lambda c: (c / "skeleton.json").write_text('{"joints": ["tail"]}'),
            "expected the joints of H36M_18, got",
        ),
    ],
)
def test_damage_is_named(checkpoint, damage, message):
    damage(checkpoint)
    with pytest.raises(ValueError, match=message):
        load_checkpoint(checkpoint)


def test_a_checkpoint_cannot_run_code(checkpoint):
    class Evil:
        def __reduce__(self):
            return (print, ("executed",))

    (checkpoint / "model.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="not a readable checkpoint file"):
        load_checkpoint(checkpoint)


def test_the_estimator_predicts_every_view_of_a_split(checkpoint, tiny_dataset):
    estimator = PoseEstimator.load(checkpoint)
    with torch.inference_mode():
        (prediction,) = estimator.predict_dataset(tiny_dataset.manifest, "test")
    assert prediction.take_id == ("s02",) * 8
    assert prediction.instant == tuple(range(8))
    assert prediction.valid.all()
    assert torch.isfinite(prediction.joints_world_mm).all()
    skeleton_mask, physique_mask = estimator.render(prediction.keypoints_crop_ndc)
    assert skeleton_mask.shape == physique_mask.shape == (8, 4, 64, 64)
    assert prediction.views == (("cam01", "cam02", "cam03", "cam04"),) * 8
    everything = sum(len(p.instant) for p in estimator.predict_dataset(tiny_dataset.manifest))
    assert everything == 24
