import shutil
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from fresh_checkpoint import save_fresh

from mas_ray.checkpoint import packaged_checkpoint
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.jobs import PredictJob, TrainJob
from mas_ray.pipelines.named_checkpoint import default_store, named_checkpoint
from mas_ray.pipelines.predict import predict
from mas_ray.pipelines.train import _fetch_initial
from mas_ray.tracking.mlflow_runs import Runs, open_store
from mas_ray.tracking.registry import register


@pytest.fixture
def registered(tmp_path, empty_store):
    """The URI of a store with two versions of ``people``; the second is the candidate."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    runs = Runs(open_store(None, storage=tmp_path), tmp_path)
    for seed in (1, 2):
        checkpoint = save_fresh(tmp_path / f"checkpoint-{seed}", seed=seed)
        register(runs, runs.find_or_create(f"{seed}", "run"), checkpoint, name="people")
    return runs.client.tracking_uri


def test_folders_and_the_packaged_checkpoint_are_what_they_were(tmp_path):
    with named_checkpoint("some/folder", None) as (name, folder):
        assert (name, str(folder)) == ("some/folder", "some/folder")
    with named_checkpoint("packaged", None) as (name, folder):
        assert (name, folder) == ("packaged", packaged_checkpoint())


def test_a_registered_model_needs_a_store(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ValueError, match="which MLflow store"), named_checkpoint("models:/people@candidate", None):
        pass


def test_the_store_may_be_the_environments(registered, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered)
    with named_checkpoint("models:/people@candidate", None) as (name, folder):
        assert name == "models:/people/2", "records say which version an alias was"
        assert (folder / "model.pt").read_bytes() == (tmp_path / "checkpoint-2" / "model.pt").read_bytes()
    assert not folder.exists()


def test_predictions_of_a_registered_model_are_those_of_its_checkpoint(registered, tmp_path, tiny_dataset):
    job = PredictJob(
        checkpoint=str(tmp_path / "checkpoint-1"), manifest=str(tiny_dataset.manifest), output=str(tmp_path / "a")
    )
    predict(job)
    predict(replace(job, checkpoint="models:/people/1", tracking_uri=registered, output=str(tmp_path / "b")))
    predict(replace(job, checkpoint="models:/people/2", tracking_uri=registered, output=str(tmp_path / "c")))
    tables = [pq.read_table(tmp_path / name / "poses.parquet") for name in "abc"]
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])


def test_a_run_keeps_the_checkpoint_that_it_started_from(registered, tmp_path, empty_store):
    """The alias moves on, by this very run's own model perhaps; the run goes on from where it began."""
    store = default_store(tmp_path)
    assert store == registered
    assert default_store(tmp_path / "elsewhere") is None
    job = TrainJob(manifest="m", storage=str(tmp_path), cascade=cpu_cascade(), name="finetuned")
    run = tmp_path / "finetuned"
    run.mkdir()
    name = "models:/people@candidate"
    (run / "initial").mkdir()  # of a fetch that was killed
    folder = _fetch_initial(name, job, run)
    assert (folder / "model.pt").read_bytes() == (tmp_path / "checkpoint-2" / "model.pt").read_bytes()
    runs = Runs(open_store(registered, storage=tmp_path), tmp_path)
    register(runs, runs.find_or_create("3", "run"), save_fresh(tmp_path / "checkpoint-3", seed=3), name="people")
    assert _fetch_initial(name, job, run) == folder
    assert (folder / "model.pt").read_bytes() == (tmp_path / "checkpoint-2" / "model.pt").read_bytes()
    with pytest.raises(ValueError, match="this run started from models:/people@candidate"):
        _fetch_initial("models:/people/1", job, run)


@pytest.mark.parametrize("name", ["", "a/b", "a@b", "it's", "models:x"])
def test_a_name_that_the_registry_cannot_have_is_refused(name):
    with pytest.raises(ValueError, match="registered_model: expected a name"):
        TrainJob(manifest="m", storage="s", registered_model=name)
