import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mas_ray.checkpoint as checkpoint_module
from mas_ray.checkpoint import Progress, checkpoint_folder, load_checkpoint, load_optimizer, save_checkpoint
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.jobs import TrainJob
from mas_ray.config.model import ShapePriorConfig
from mas_ray.geometry.chirality import KneeChirality
from mas_ray.inference import FrameSetEstimator
from mas_ray.pipelines.worker import _resume
from mas_ray.shards.manifest import read_manifest
from mas_ray.skeleton import H36M_18
from mas_ray.training.data import open_split
from mas_ray.training.state import create_state

PROGRESS = Progress(
    stage=1,
    stage_name="shape_prior",
    num_epochs=3,
    num_steps=150,
    validation_reconstruction=0.5,
    knee_chirality=KneeChirality(mean_mm=-12.5, standard_error_mm=1.5, num_poses=64),
)


FORMAT_1 = Path(__file__).parent / "checkpoints" / "format_1"
"""Written when format 1 was new, by `save_checkpoint` after three steps. It is never written again: whoever changes
the format gives it a new name and a new folder here, and goes on reading this one."""


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


def test_what_format_1_wrote_is_read_for_ever():
    """Its job, its progress, what its networks see in a picture, and how it goes on."""
    assert (FORMAT_1 / "FORMAT").read_text() == "mas-ray checkpoint 1\n"
    loaded = load_checkpoint(FORMAT_1)
    assert loaded.progress == Progress(
        stage=1,
        stage_name="shape_prior",
        num_epochs=3,
        num_steps=150,
        validation_reconstruction=0.25,
        knee_chirality=KneeChirality(mean_mm=-12.5, standard_error_mm=1.5, num_poses=64),
    )
    cascade = loaded.job.cascade
    small = replace(cpu_cascade().detector, width=4, head_width=4, heatmap_depth=8)
    assert cascade == replace(cpu_cascade(), detector=small, shape_prior=ShapePriorConfig(widths=(2, 4)), seed=5)
    assert loaded.job == TrainJob(manifest="dataset/manifest.json", storage="runs", cascade=cascade)
    state = create_state(cascade, H36M_18, torch.device("cpu"))
    _resume(state, FORMAT_1)
    picture = torch.linspace(0, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    with torch.no_grad():
        keypoints = state.detector(picture).keypoints_ndc[0, :3]
        mask = state.shape_prior(torch.linspace(0, 1, 64 * 64).reshape(1, 64, 64))[0, ::32, ::32]
    expected = torch.tensor([[0.903158, 0.844196], [0.044168, 0.963637], [0.902531, 0.844318]])
    torch.testing.assert_close(keypoints, expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(mask, torch.tensor([[0.376546, 0.497540], [0.327952, 0.482515]]), rtol=0, atol=1e-4)
    assert state.epoch == 3
    assert {int(moments["step"]) for moments in state.optimizer.state_dict()["state"].values()} == {3}


def test_the_packaged_checkpoint_is_of_format_1():
    """So it pins the format as well, at full size and without what going on needs."""
    assert (checkpoint_folder("packaged") / "FORMAT").read_text() == "mas-ray checkpoint 1\n"
    assert not (checkpoint_folder("packaged") / "optimizer.pt").exists()


def _told(checkpoint: Path, **changes) -> Path:
    """The checkpoint with another ``progress.json``; None removes a key."""
    path = checkpoint / "progress.json"
    progress = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in progress.items() if value is not None}))
    (checkpoint / "sha256.json").unlink(missing_ok=True)  # as checkpoints once were
    return checkpoint


def test_a_checkpoint_from_before_chirality_was_kept_is_read(checkpoint):
    loaded = load_checkpoint(_told(checkpoint, knee_chirality=None))
    assert loaded.progress == replace(PROGRESS, knee_chirality=None)
    assert "knee_chirality" not in (checkpoint / "progress.json").read_text()


def test_whoever_loads_exchanges_the_sides_if_the_knees_bend_backwards(checkpoint, tiny_dataset):
    batch = open_split(tiny_dataset.manifest.parent, read_manifest(tiny_dataset.manifest), "test", cpu_cascade()).batch(
        np.arange(2)
    )
    backwards = FrameSetEstimator.load(checkpoint).detect(batch)
    unknown = FrameSetEstimator.load(_told(checkpoint, knee_chirality=None)).detect(batch)
    forwards = FrameSetEstimator.load(
        _told(checkpoint, knee_chirality={"mean_mm": 12.5, "standard_error_mm": 1.5, "num_poses": 64})
    ).detect(batch)
    mirror = list(H36M_18.mirror_permutation)
    assert torch.equal(unknown.keypoints_ndc, forwards.keypoints_ndc)
    assert torch.equal(backwards.keypoints_ndc, forwards.keypoints_ndc[..., mirror, :])
    assert not torch.equal(backwards.keypoints_ndc, forwards.keypoints_ndc)


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
    (checkpoint / "sha256.json").unlink()  # as checkpoints once were
    damage(checkpoint)
    with pytest.raises(ValueError, match=message):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("name", ["job.json", "skeleton.json", "model.pt", "progress.json", "optimizer.pt"])
def test_a_byte_that_changed_is_found(checkpoint, name):
    content = bytearray((checkpoint / name).read_bytes())
    content[len(content) // 2] ^= 1
    (checkpoint / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}: damaged: it is not of the sha256 in sha256\.json"):
        (load_optimizer if name == "optimizer.pt" else load_checkpoint)(checkpoint)


def test_digests_that_say_nothing_of_a_file(checkpoint):
    (checkpoint / "sha256.json").write_text("[]")
    with pytest.raises(ValueError, match=r"sha256\.json: expected the digest of job\.json"):
        load_checkpoint(checkpoint)


def test_a_checkpoint_to_predict_with_needs_no_optimizer(checkpoint):
    (checkpoint / "optimizer.pt").unlink()
    load_checkpoint(checkpoint)


def test_the_packaged_checkpoint_loads_and_is_small():
    folder = checkpoint_folder("packaged")
    estimator = FrameSetEstimator.load(folder)
    assert estimator.stage.name == "limbs"
    assert estimator.cascade == load_checkpoint(folder).job.cascade == cpu_cascade()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5e6
    assert (folder / "README.md").is_file()


def test_a_packaged_checkpoint_that_was_touched_is_named(monkeypatch):
    monkeypatch.setitem(checkpoint_module._PACKAGED_SHA256, "progress.json", "0" * 64)
    with pytest.raises(ValueError, match=r"progress\.json: expected sha256 0000"):
        checkpoint_folder("packaged")


def test_a_checkpoint_cannot_run_code(checkpoint):
    class Evil:
        def __reduce__(self):
            return (print, ("executed",))

    (checkpoint / "model.pt").write_bytes(pickle.dumps(Evil()))
    (checkpoint / "sha256.json").unlink()
    with pytest.raises(ValueError, match="not a readable checkpoint file"):
        load_checkpoint(checkpoint)


def test_the_estimator_predicts_every_view_of_a_split(checkpoint, tiny_dataset):
    estimator = FrameSetEstimator.load(checkpoint)
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
