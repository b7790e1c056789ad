import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from mlflow import MlflowClient

from mas_ray.annotations import ReferenceJoints, read_reference, write_reference
from mas_ray.config import codec
from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.config.jobs import TrainJob, Workers
from mas_ray.pipelines.kept_folder import KeptFolder
from mas_ray.pipelines.run_folder import read_cascade_result
from mas_ray.pipelines.train import _discard_later_stages, train
from mas_ray.shards.manifest import file_sha256
from mas_ray.tracking.spool import read_spool


def _cascade() -> CascadeConfig:
    """Two short stages, long enough to be killed in; the second is taught by the first."""
    torso, _, limbs = cpu_cascade().stages
    stages = (
        replace(torso, learning_rates=((5, 2e-3),), num_anchor_only_steps=12, num_direct_only_steps=20),
        replace(
            limbs,
            learning_rates=((8, 2e-3),),
            num_anchor_only_steps=16,
            mask_ramp_steps=8,
            num_anchor_steps=48,
            num_direct_only_steps=16,
        ),
    )
    return replace(cpu_cascade(), stages=stages, steps_per_epoch=8)


def _copy(dataset, folder: Path) -> Path:
    shutil.copytree(dataset.manifest.parent, folder / "dataset")
    return folder / "dataset" / "manifest.json"


def _trace(run: Path) -> list[dict[str, float]]:
    volatile = ("images_per_s", "data_wait_share", "time_ms")
    return [
        {key: value for key, value in epoch.items() if key not in volatile and not key.startswith("system/")}
        for stage in sorted((run / "stages").iterdir())
        for epoch in read_spool(stage / "metrics.jsonl")
    ]


def test_a_run_folder_belongs_to_one_job(tmp_path, tiny_dataset):
    """Refused before Ray is started."""
    job = TrainJob(manifest=str(tiny_dataset.manifest), storage=str(tmp_path), cascade=_cascade())
    run = tmp_path / job.name
    run.mkdir()
    other = replace(job.cascade, seed=1)
    text = '{"manifest_sha256": "0", "cascade": ' + codec.dumps(job.cascade) + "}"
    (run / "run.json").write_text(text)
    with pytest.raises(ValueError, match="trained on another dataset"):
        train(job)
    digest = file_sha256(tiny_dataset.manifest)
    (run / "run.json").write_text(text.replace('"0"', f'"{digest}"'))
    with pytest.raises(ValueError, match="another cascade"):
        train(replace(job, cascade=other))


def test_a_damaged_shard_is_named(tmp_path, tiny_dataset):
    manifest = _copy(tiny_dataset, tmp_path)
    (manifest.parent / "shards" / "part-00001.parquet").unlink()
    with pytest.raises(ValueError, match=r"part-00001\.parquet: missing or damaged shard; run ingest again"):
        train(TrainJob(manifest=str(manifest), storage=str(tmp_path / "runs")))


def test_workers_must_divide_the_batch(tmp_path, tiny_dataset):
    with pytest.raises(ValueError, match="4 frame sets do not divide among 3 workers"):
        train(
            TrainJob(
                manifest=str(tiny_dataset.manifest),
                storage=str(tmp_path),
                cascade=_cascade(),
                workers=Workers(num=3),
            )
        )


def test_what_later_stages_have_goes_when_an_earlier_one_is_trained_again(tmp_path):
    for name in ("0-torso", "1-limbs"):
        (tmp_path / "stages" / name).mkdir(parents=True)
        (tmp_path / "stages" / name / "teacher.pt").touch()
    _discard_later_stages(KeptFolder(tmp_path), _cascade(), 0)
    assert [path.name for path in (tmp_path / "stages").iterdir()] == ["0-torso"]
    _discard_later_stages(KeptFolder(tmp_path), _cascade(), 1)
    assert (tmp_path / "stages" / "0-torso" / "teacher.pt").exists()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_neither_noise_for_annotations_nor_kills_change_anything(tmp_path, tiny_dataset):
    """One worker: the loss trace and the chosen checkpoints are those of an undisturbed run without annotations.

    In stage one the worker is killed, in stage two the driver, both within the warm-up.
    """
    runs: dict[str, Path] = {}
    for name in ("absent", "noise"):
        folder = tmp_path / name
        manifest = _copy(tiny_dataset, folder)
        if name == "noise":
            _write_noise(tiny_dataset.annotations, folder / "annotations")
        job = TrainJob(manifest=str(manifest), storage=str(folder / "runs"), cascade=_cascade())
        runs[name] = folder / "runs" / job.name
        (folder / "job.json").write_text(codec.dumps(job))
    assert "stage 2/2 limbs: 8 of 8 epochs" in _run_to_the_end(tmp_path / "absent" / "job.json")
    _kill_worker_then_driver(tmp_path / "noise" / "job.json", runs["noise"])
    assert not (runs["noise"] / "cascade.json").exists()
    _run_to_the_end(tmp_path / "noise" / "job.json")

    assert _trace(runs["noise"]) == _trace(runs["absent"])
    teachings = [(run / "stages" / "1-limbs" / "teacher.pt").read_bytes() for run in runs.values()]
    assert teachings[0] == teachings[1]
    assert len(_trace(runs["absent"])) == 13
    assert read_cascade_result(runs["noise"]) == read_cascade_result(runs["absent"])
    _check_tracking(tmp_path / "noise" / "runs")
    assert "epochs" not in _run_to_the_end(tmp_path / "noise" / "job.json"), "a finished run was not reused"


@pytest.mark.slow
@pytest.mark.ray
def test_two_workers_train_and_hand_on_the_best_checkpoint(tmp_path, tiny_dataset):
    job = TrainJob(
        manifest=str(tiny_dataset.manifest),
        storage=str(tmp_path / "runs"),
        cascade=replace(_cascade(), stages=_cascade().stages[:1]),
        workers=Workers(num=2),
    )
    (tmp_path / "job.json").write_text(codec.dumps(job))
    _run_to_the_end(tmp_path / "job.json")
    (stage,) = read_cascade_result(tmp_path / "runs" / job.name).stages
    scores = [epoch["validation/reconstruction"] for epoch in _trace(tmp_path / "runs" / job.name)]
    assert stage.validation_reconstruction == min(scores)
    assert (tmp_path / "runs" / job.name / stage.checkpoint / "FORMAT").is_file()


def _write_noise(source: Path, target: Path) -> None:
    generator = np.random.default_rng(0)
    for path in source.iterdir():
        reference = read_reference(path)
        noise = generator.normal(scale=1000.0, size=reference.joints_world_mm.shape)
        write_reference(
            target / path.name,
            ReferenceJoints(instants=reference.instants, joints_world_mm=noise, valid=reference.valid, source="noise"),
        )


def _command(job: Path) -> list[str]:
    return [sys.executable, "-m", "mas_ray.cli.main", "train", "--job", str(job)]


def _run_to_the_end(job: Path) -> str:
    """Train, and return what it told of its progress."""
    result = subprocess.run(_command(job), capture_output=True, text=True, timeout=400, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stderr


def _kill_worker_then_driver(job: Path, run: Path) -> None:
    """The worker after stage one's first epoch, the driver after stage two's third."""
    process = subprocess.Popen(_command(job), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    family = list[psutil.Process]()
    try:
        _wait_for_epochs(run / "stages" / "0-torso", 1, process)
        (worker,) = (child for child in _family(process) if "RayTrainWorker" in "".join(child.cmdline()))
        worker.kill()
        assert len(read_spool(run / "stages" / "0-torso" / "metrics.jsonl")) < 5, "the stage was over"
        _wait_for_epochs(run / "stages" / "1-limbs", 3, process)
        family = _family(process)
    finally:
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(family, timeout=60)
        for orphan in alive:
            orphan.kill()


def _wait_for_epochs(stage: Path, num: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while len(read_spool(stage / "metrics.jsonl")) < num:
        assert process.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < deadline, f"{stage.name} did not get on"
        time.sleep(0.05)


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def _check_tracking(storage: Path) -> None:
    """One parent and two stage runs, with every epoch once, in spite of the kill."""
    client = MlflowClient(tracking_uri=f"sqlite:///{storage / 'mlflow.db'}")
    (experiment,) = (e for e in client.search_experiments() if e.name == "mas-ray")
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    stages = {run.info.run_name: run for run in runs if "mlflow.parentRunId" in run.data.tags}
    assert set(stages) == {"torso", "limbs"}
    (version,) = client.search_model_versions("name='mas-ray'")
    assert version.run_id == parents[0].info.run_id
    for name, epochs in (("torso", 5), ("limbs", 8)):
        history = client.get_metric_history(stages[name].info.run_id, "loss/total")
        assert sorted(metric.step for metric in history) == [8 * epoch + 7 for epoch in range(epochs)]
        assert stages[name].info.status == "FINISHED"
        assert client.list_artifacts(stages[name].info.run_id, "overlays")
