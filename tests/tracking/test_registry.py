import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from fresh_checkpoint import save_fresh

from mas_ray.checkpoint import load_checkpoint
from mas_ray.inference import FrameSetEstimator
from mas_ray.tracking import registry
from mas_ray.tracking.mlflow_runs import Runs, open_store
from mas_ray.tracking.pose_model import PoseModel
from mas_ray.tracking.registry import download_checkpoint, register


@pytest.fixture
def runs(tmp_path, empty_store):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return Runs(open_store(None, storage=tmp_path), tmp_path)


def _versions(runs):
    return sorted(int(version.version) for version in runs.client.search_model_versions("name='people'"))


def test_a_run_has_one_version_however_often_it_registers(runs, tmp_path):
    checkpoint = save_fresh(tmp_path / "checkpoint", seed=1)
    first, second = (runs.find_or_create(key, key) for key in "ab")
    assert register(runs, first, checkpoint, name="people") == "models:/people/1"
    assert register(runs, second, checkpoint, name="people") == "models:/people/2"
    assert register(runs, first, checkpoint, name="people") == "models:/people/1"
    assert _versions(runs) == [1, 2]
    assert runs.client.get_model_version_by_alias("people", "candidate").version == 2, "an older run took the alias"


@pytest.mark.parametrize("call", ["log_model_artifacts", "create_model_version", "set_registered_model_alias"])
def test_a_registration_cut_short_is_taken_up_again(call, runs, tmp_path, monkeypatch):
    checkpoint = save_fresh(tmp_path / "checkpoint", seed=1)
    run = runs.find_or_create("a", "a")

    def fail(*_, **__):
        raise OSError("connection reset")

    with monkeypatch.context() as broken:
        broken.setattr(runs.client, call, fail)
        with pytest.raises(OSError, match="connection reset"):
            register(runs, run, checkpoint, name="people")
    assert register(runs, run, checkpoint, name="people") == "models:/people/1"
    assert runs.client.get_model_version_by_alias("people", "candidate").version == 1
    assert len(runs.client.search_logged_models([runs.experiment])) == 1
    download_checkpoint("models:/people/1", runs.client.tracking_uri, tmp_path / "back")
    assert load_checkpoint(tmp_path / "back").progress.stage_name == "limbs"


def test_a_checkpoint_comes_back_without_its_optimiser(runs, tmp_path):
    checkpoint = save_fresh(tmp_path / "checkpoint", seed=1)
    register(runs, runs.find_or_create("a", "a"), checkpoint, name="people")
    for name in ("models:/people@candidate", "models:/people/1"):
        folder = tmp_path / name.replace("/", "-") / "there"
        assert download_checkpoint(name, runs.client.tracking_uri, folder) == "models:/people/1"
        assert {path.name for path in folder.iterdir()} == {path.name for path in checkpoint.iterdir()} - {
            "optimizer.pt"
        }
        assert (folder / "model.pt").read_bytes() == (checkpoint / "model.pt").read_bytes()
        assert [path.name for path in folder.parent.iterdir()] == ["there"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("models:/people@nobody", "not a model of mas-ray in this MLflow store"),
        ("models:/people/7", "not a model of mas-ray in this MLflow store"),
        ("models:/strangers@candidate", "not a model of mas-ray in this MLflow store"),
        ("models:/people", "expected models:/NAME@ALIAS or models:/NAME/VERSION"),
        ("models:/people/Production", "expected models:/NAME@ALIAS or models:/NAME/VERSION"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(name, text, runs, tmp_path):
    register(runs, runs.find_or_create("a", "a"), save_fresh(tmp_path / "checkpoint", seed=1), name="people")
    with pytest.raises(ValueError, match=text) as caught:
        download_checkpoint(name, runs.client.tracking_uri, tmp_path / "back")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "back").exists()


def test_someone_elses_model_is_refused(runs, tmp_path):
    client, run = runs.client, runs.find_or_create("a", "a")
    model = client.create_logged_model(runs.experiment, name="other", source_run_id=run)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "MLmodel").write_text("flavors: {}")
    client.log_model_artifacts(model.model_id, str(tmp_path / "other"))
    client.create_registered_model("other")
    client.create_model_version("other", source=model.artifact_location, run_id=run)
    with pytest.raises(ValueError, match="not a model of mas-ray"):
        download_checkpoint("models:/other/1", client.tracking_uri, tmp_path / "back")


def test_the_saved_model_holds_neither_code_nor_pickles(tmp_path):
    registry.save_model(tmp_path / "model", save_fresh(tmp_path / "checkpoint", seed=1), run_id="r")
    names = {str(path.relative_to(tmp_path / "model")) for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert not {name for name in names if name.endswith((".py", ".pkl"))}
    text = (tmp_path / "model" / "MLmodel").read_text()
    assert "loader_module: mas_ray.tracking.pose_model" in text
    assert "keypoints_ndc" in text


def test_pictures_are_predicted_as_a_dataset_of_single_views_is(tmp_path, tiny_dataset):
    """Of any size and number; JPEG crops of 96 px here, 64 px in the network."""
    from single_views import write_single_views

    from mas_ray.shards.images import decode_image, decode_mask
    from mas_ray.shards.manifest import read_manifest
    from mas_ray.shards.read import read_dataset

    estimator = FrameSetEstimator.load(save_fresh(tmp_path / "checkpoint", seed=1))
    assert estimator.cascade.detector.background == "removed"
    manifest = write_single_views(tmp_path / "single", tiny_dataset.manifest)
    rows = list(read_dataset(manifest.parent, read_manifest(manifest)))
    views = [row["views"][0] for row in rows]
    pictures = np.stack([decode_image(v["image"]) * decode_mask(v["mask"], 96, 96)[..., None] for v in views] * 3)
    found = PoseModel(estimator).predict(pictures)
    parts = list(estimator.predict_dataset(manifest))
    for ours, theirs in (
        ("keypoints_ndc", "keypoints_crop_ndc"),
        ("depth_mm", "depth_mm"),
        ("confidence", "confidence"),
    ):
        expected = np.concatenate([getattr(part, theirs)[:, 0].numpy() for part in parts])
        assert found[ours].dtype == np.float32
        np.testing.assert_allclose(found[ours], np.concatenate([expected] * 3), atol=1e-5)
    with pytest.raises(ValueError, match="at least one"):
        PoseModel(estimator).predict(pictures[:0])
    with pytest.raises(ValueError, match="square"):
        PoseModel(estimator).predict(pictures[:, :50])


def test_the_registered_model_reloads_in_a_fresh_process(runs, tmp_path):
    checkpoint = save_fresh(tmp_path / "checkpoint", seed=1)
    register(runs, runs.find_or_create("a", "a"), checkpoint, name="people")
    pictures = np.random.default_rng(0).integers(0, 256, (3, 80, 80, 3), np.uint8)
    np.save(tmp_path / "pictures.npy", pictures)
    code = (
        "import sys, json, numpy as np, mlflow\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model('models:/people@candidate')\n"
        "found = model.predict(np.load(sys.argv[2]))\n"
        "print(json.dumps({name: value.tolist() for name, value in found.items()}))\n"
    )
    command = [sys.executable, "-c", code, runs.client.tracking_uri, str(tmp_path / "pictures.npy")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    there = json.loads(result.stdout.splitlines()[-1])
    here = PoseModel(FrameSetEstimator.load(checkpoint)).predict(pictures)
    assert set(there) == {"keypoints_ndc", "depth_mm", "confidence"}
    for name, value in here.items():
        np.testing.assert_allclose(there[name], value, atol=1e-5)
