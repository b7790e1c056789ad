import pytest
from mlflow import MlflowClient

from mas_ray.config.ingest import CropConfig, FrameSampling, MaskQualityConfig, NoSplit, ProvidedMasks
from mas_ray.config.jobs import IngestJob
from mas_ray.ingest.tally import Tally
from mas_ray.pipelines.ingest_tracking import track_dataset, tracked
from mas_ray.shards.manifest import IngestParameters, Manifest, RejectCount, Splits, TakeEntry


@pytest.fixture
def job(tmp_path):
    (tmp_path / "dataset").mkdir()
    for name in ("manifest.json", "job.json"):
        (tmp_path / "dataset" / name).write_text("{}")
    return IngestJob(
        root="corpus", output=str(tmp_path / "dataset"), tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}"
    )


def _manifest() -> Manifest:
    return Manifest(
        format="f",
        schema_version=1,
        code_version="0",
        corpus="folder",
        parameters=IngestParameters(
            masks=ProvidedMasks(), mask_quality=MaskQualityConfig(), crop=CropConfig(), sampling=FrameSampling()
        ),
        split_config=NoSplit(),
        takes=(TakeEntry(take_id="a", subject="a", action="a", views=("a",), num_instants=30),),
        shards=(),
        splits=Splits(train=(), validation=(), test=()),
        rejects=(RejectCount(reason="no_person", level="view", count=2),),
    )


def _die_on_the_way(job: IngestJob) -> None:
    with tracked(job, num_instants_before=0) as watch:
        watch(Tally(instants=10, accepted=9, rejected=1))
        raise RuntimeError("power cut")


def test_sessions_of_one_ingest_are_one_run_that_ends_with_what_the_dataset_holds(job):
    with pytest.raises(RuntimeError, match="power cut"):
        _die_on_the_way(job)
    with tracked(job, num_instants_before=10) as watch:
        watch(Tally(instants=20, accepted=19, rejected=1))
    track_dataset(job, _manifest())
    client = MlflowClient(tracking_uri=job.tracking_uri)
    experiment = client.get_experiment_by_name("mas-ray")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    metrics = run.data.metrics
    assert (metrics["session/views_accepted"], metrics["session/views_rejected"]) == (19, 1)
    assert (metrics["dataset/instants"], metrics["dataset/takes"], metrics["rejects/view/no_person"]) == (30, 1, 2)
    assert [m.step for m in client.get_metric_history(run.info.run_id, "session/views_accepted")] == [30]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"manifest.json", "job.json"}


def test_without_a_uri_nothing_is_logged(job, tmp_path):
    silent = IngestJob(root="corpus", output=job.output)
    with tracked(silent, num_instants_before=0) as watch:
        watch(Tally(instants=1))
    track_dataset(silent, _manifest())
    assert not (tmp_path / "mlflow.db").exists()
