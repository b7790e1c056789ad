"""A run whose storage is a store: what is asked of the job, and what another host goes on from."""

import os
import shutil
import subprocess
import sys
import time
import uuid
from dataclasses import replace

import psutil
import pytest
from fresh_checkpoint import save_fresh
from test_object_store import upload
from test_train import _cascade

from mas_ray.checkpoint import load_checkpoint
from mas_ray.cli.main import main
from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.jobs import TrainJob
from mas_ray.config.search_space import Choice
from mas_ray.config.sweep import GridSearch, TuneJob
from mas_ray.pipelines import lease
from mas_ray.pipelines import train as module
from mas_ray.pipelines.run_folder import InitialCheckpoint, StageResult
from mas_ray.pipelines.show_run import summarise_run
from mas_ray.pipelines.train import train
from mas_ray.pipelines.tune import tune
from mas_ray.pipelines.worker import _keep_report, tell_again
from mas_ray.shards.location import location, names_in
from mas_ray.shards.manifest import file_sha256
from mas_ray.shards.transfer import list_tree, local_copy
from mas_ray.shards.write import write_text
from mas_ray.tracking.spool import read_spool


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(lease, "_SETTLE_S", 0.0)
    return f"fsspec+memory://{uuid.uuid4()}"


@pytest.fixture
def job(tiny_dataset, bucket, tmp_path):
    return TrainJob(
        manifest=str(tiny_dataset.manifest),
        storage=f"{bucket}/runs",
        cascade=_cascade(),
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
    )


@pytest.fixture
def stages(monkeypatch):
    """Instead of training, note what is asked of Ray, and leave a fresh checkpoint."""
    asked = []

    def instead(job, kept, results, watch):
        results = []
        asked.append((job, kept))
        for index, stage in enumerate(job.cascade.stages):
            folder = module.stage_folder(kept.path, job.cascade, index)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            checkpoint = save_fresh(folder / f"{stage.name}-epoch0001", seed=index, recipe=job.cascade)
            result = StageResult(
                stage=stage.name, checkpoint=str(checkpoint.relative_to(kept.path)), validation_reconstruction=0.5
            )
            write_text(folder / "stage.json", codec.dumps(result))
            results.append(result)
        return results

    monkeypatch.setattr(module, "_train_stages", instead)
    monkeypatch.setattr(module.session, "connect", lambda: module.nullcontext())
    monkeypatch.setattr(module.session, "require", lambda *args, **kwargs: None)
    return asked


def test_a_run_in_a_store_needs_a_tracking_server(job, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ValueError, match=r"^tracking_uri: fsspec.*/runs is a store, .* name a tracking server"):
        train(replace(job, tracking_uri=None))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert module._for_its_storage(replace(job, tracking_uri=None)).tracking_uri == "http://tracking:5000"


def test_a_sweep_is_on_a_disk(job):
    space = (Choice(field="cascade.seed", values=(0, 1)),)
    with pytest.raises(ValueError, match=r"^base\.storage: fsspec.*/runs is a store; expected a folder on a disk"):
        tune(TuneJob(base=job, space=space, search=GridSearch()))


def test_everything_of_a_run_is_in_the_store(job, stages, tmp_path):
    result = train(job, mirror=False)
    run = location(job.storage) / job.name
    assert {"run.json", "job.json", "cascade.json", "stages"} <= set(names_in(run))
    (asked, kept) = stages[0]
    assert asked.checkpoints == str(run / "checkpoints")
    assert kept.path.is_relative_to(tmp_path / "cache")
    with local_copy(run / result.checkpoint) as folder:
        assert load_checkpoint(folder).progress.num_epochs == 1
    assert str(tmp_path / "cache") not in (run / "job.json").read_text()
    again = codec.loads(TrainJob, (run / "job.json").read_text())
    assert train(again, mirror=False) == result
    assert len(stages) == 1, "a finished run is not trained again"


def test_a_checkpoint_that_is_gone_there_is_trained_again_by_another_host(job, stages, tmp_path, monkeypatch):
    result = train(job, mirror=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert train(job, mirror=False) == result
    assert len(stages) == 1
    (location(job.storage) / job.name / result.checkpoint / "FORMAT").unlink()
    assert train(job, mirror=False) == result
    assert len(stages) == 2


@pytest.mark.parametrize("where", ["disk", "store"])
def test_a_run_keeps_the_checkpoint_that_it_started_from(job, stages, tmp_path, bucket, where):
    """However it is named then: its name, or the copy that the record names."""
    save_fresh(tmp_path / "initial", seed=7, recipe=job.cascade)
    initial = str(tmp_path / "initial")
    if where == "store":
        upload(tmp_path / "initial", f"{bucket}/initial")
        initial = f"{bucket}/initial"
    job = replace(job, initial=initial)
    train(job, mirror=False)
    run = location(job.storage) / job.name
    asked = stages[0][0]
    assert asked.initial == str(run / "initial")
    record = codec.loads(InitialCheckpoint, (run / "initial.json").read_text())
    assert record == InitialCheckpoint(name=initial, version=f"sha256:{file_sha256(tmp_path / 'initial' / 'model.pt')}")
    assert (run / "initial" / "model.pt").read_bytes() == (tmp_path / "initial" / "model.pt").read_bytes()
    (run / "cascade.json").unlink()
    train(codec.loads(TrainJob, (run / "job.json").read_text()), mirror=False)
    with pytest.raises(ValueError, match=r"initial\.json: this run started from .*initial; choose another name"):
        train(replace(job, initial="packaged"), mirror=False)
    with pytest.raises(ValueError, match=r"nothing: no checkpoint here"):
        train(replace(job, initial=f"{bucket}/nothing", name="other"), mirror=False)


def test_a_run_on_a_disk_may_start_from_a_checkpoint_in_a_store(job, stages, tmp_path, bucket):
    save_fresh(tmp_path / "initial", seed=7, recipe=job.cascade)
    upload(tmp_path / "initial", f"{bucket}/initial")
    job = replace(job, initial=f"{bucket}/initial", storage=str(tmp_path / "runs"))
    train(job, mirror=False)
    assert stages[0][0].initial == str(tmp_path / "runs" / job.name / "initial")
    assert load_checkpoint(tmp_path / "runs" / job.name / "initial").progress


def test_reports_that_were_not_spooled_are_told_by_the_next_driver(tmp_path, bucket):
    stage = location(f"{bucket}/runs/one/stages/0-torso")
    for epoch in range(3):
        _keep_report({"epoch": epoch, "loss/total": float(epoch)}, stage)
    _keep_report({"epoch": 3}, tmp_path)
    assert names_in(tmp_path) == [], "on a disk the spool has them"
    spool = tmp_path / "metrics.jsonl"
    spool.write_text('{"epoch": 0, "loss/total": 0.0}\n')
    with local_copy(stage / "reports") as reports:
        for report in sorted(reports.glob("*.json")):
            tell_again(report, spool)
    assert [line["epoch"] for line in read_spool(spool)] == [0, 1, 2]


def test_show_reads_a_run_in_a_store(job, stages, bucket, capsys):
    train(job, mirror=False)
    run = location(job.storage) / job.name
    summary = summarise_run(run)
    assert (summary.run, summary.training_now) == (str(run), False)
    assert [stage.state for stage in summary.stages] == ["finished", "finished"]
    assert summary.checkpoint == str(run / "stages/1-limbs/limbs-epoch0001")
    assert any(f"--checkpoint {summary.checkpoint}" in command for command in summary.next)
    assert not any("report" in command for command in summary.next), "it is made of runs on a disk"
    assert main(["show", str(run)]) == 0
    assert f"mas-ray train --job {run / 'job.json'}" in capsys.readouterr().out
    lease.Lease(run, "somebody").take()
    assert summarise_run(run).training_now
    assert summarise_run(run).next == ()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_another_host_goes_on_with_a_run_whose_driver_was_killed(tiny_dataset, tmp_path, s3):
    """Its copy is not there, and no epoch is missing; nothing but the store and MLflow is written."""
    where = s3(uuid.uuid4().hex)
    upload(tiny_dataset.manifest.parent, str(location(where) / "set"))
    torso = replace(cpu_cascade().stages[0], learning_rates=((4, 2e-3),))
    job = TrainJob(
        manifest=str(location(where) / "set" / "manifest.json"),
        storage=str(location(where) / "runs"),
        cascade=replace(cpu_cascade(), stages=(torso,), steps_per_epoch=8),
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
        registered_model=None,
    )
    write_text(location(where) / "job.json", codec.dumps(job))
    run = location(job.storage) / job.name
    (tmp_path / "empty").mkdir()

    def start(host: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "mas_ray.cli.main", "train", "--job", str(location(where) / "job.json")],
            stdout=subprocess.DEVNULL,
            stderr=(tmp_path / f"{host}.txt").open("wb"),
            cwd=tmp_path / "empty",
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / host)},
        )

    process, family = start("first"), list[psutil.Process]()
    try:
        while len(names_in(run / "stages" / "0-torso" / "reports")) < 2:
            assert process.poll() is None, (tmp_path / "first.txt").read_text()[-2000:]
            time.sleep(0.05)
        family = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.kill()
        process.wait()
        for orphan in psutil.wait_procs(family, timeout=10)[1]:  # agents of the node that has died
            orphan.kill()
    assert "stage.json" not in names_in(run / "stages" / "0-torso"), "the stage was over"
    (run / lease.LEASE).unlink()  # or half a minute of waiting
    assert start("second").wait(300) == 0, (tmp_path / "second.txt").read_text()[-2000:]

    with local_copy(run / "stages" / "0-torso" / "metrics.jsonl") as spool:
        epochs = read_spool(spool)
    assert [epoch["epoch"] for epoch in epochs] == [0, 1, 2, 3]
    best = min(epochs, key=lambda epoch: epoch["validation/reconstruction"])
    chosen = f"torso-epoch{best['epoch'] + 1:04d}"
    kept = {name.split("/")[2] for name in list_tree(run) if name.startswith("stages/") and name.count("/") > 2}
    assert kept == {chosen, "overlays"}
    assert summarise_run(run).checkpoint == str(run / "stages" / "0-torso" / chosen)
    assert names_in(tmp_path / "empty") == []
    assert names_in(run / "stages" / "0-torso" / "reports") == []
