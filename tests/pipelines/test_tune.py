import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from made_up_sweep import WEIGHT, sweep_job, write_trial
from mlflow import MlflowClient
from ray.tune.schedulers import FIFOScheduler

import mas_ray.pipelines.tune as module
from mas_ray.config import codec
from mas_ray.config.jobs import Workers
from mas_ray.config.search_space import Choice, LogUniform
from mas_ray.config.sweep import Asha, GridSearch, RandomSearch
from mas_ray.config.yardstick import Yardstick
from mas_ray.pipelines.run_folder import read_job
from mas_ray.pipelines.sweep_folder import Outcome, begin_trial, end_trial, read_trials, trial_folder
from mas_ray.pipelines.tune import _claim, _scheduler, concurrency, tune
from mas_ray.tracking.spool import read_lines

_GIB = 2**30


def _node(cpus, gpus=0.0, memory_gib=100.0, alive=True):
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus, "memory": memory_gib * _GIB}}


def _of(tmp_path, max_concurrent=None, **workers):
    job = sweep_job(tmp_path, max_concurrent=max_concurrent)
    return replace(job, base=replace(job.base, workers=Workers(**workers)))


def test_no_more_trials_at_once_than_get_all_their_workers(tmp_path):
    assert concurrency(_of(tmp_path, num=2), [_node(4.0)]) == 2
    assert concurrency(_of(tmp_path, num=2), [_node(3.0)]) == 1  # a second would have half of its workers
    assert concurrency(_of(tmp_path, num=2), [_node(3.0), _node(1.0)]) == 2
    assert concurrency(_of(tmp_path, num=2), [_node(3.0), _node(1.0, alive=False)]) == 1
    assert concurrency(_of(tmp_path, num=2, cpus_each=2.0), [_node(3.0), _node(3.0)]) == 1
    assert concurrency(_of(tmp_path, num=1), [_node(8.0, memory_gib=3.0)]) == 3
    assert concurrency(_of(tmp_path, num=1, max_concurrent=2), [_node(8.0)]) == 2


def test_a_cluster_that_grows_is_asked_for_as_many_as_the_job_says(tmp_path):
    assert concurrency(_of(tmp_path, max_concurrent=5, num=2), [], grows=True) == 5
    assert concurrency(_of(tmp_path, max_concurrent=5, num=2), [_node(4.0)]) == 2
    assert concurrency(_of(tmp_path, num=2), [], grows=True) == 1


def test_parts_of_a_gpu_are_of_one_gpu(tmp_path):
    assert concurrency(_of(tmp_path, num=1, gpus_each=0.5), [_node(8.0, gpus=2.0)]) == 4
    assert concurrency(_of(tmp_path, num=1, gpus_each=0.6), [_node(8.0, gpus=2.0)]) == 2
    assert concurrency(_of(tmp_path, num=1, gpus_each=1.0), [_node(8.0, gpus=3.0)]) == 3
    assert concurrency(_of(tmp_path, num=2, gpus_each=0.1), [_node(8.0, gpus=1.0)]) == 4


def test_early_stopping_remembers_trials_of_an_earlier_session(tmp_path):
    job = sweep_job(tmp_path, early_stopping=Asha(grace_epochs=1, reduction_factor=2.0))
    for number in range(4):
        write_trial(job, number, 1.0, [0.1 * (number + 1)])
        end_trial(tmp_path / "sweep", number, Outcome(ending="stopped"))
    scheduler = _scheduler(job, read_trials(tmp_path / "sweep"))
    decisions = {}
    for name, score in (("worse", 0.9), ("better", 0.05)):
        trial = SimpleNamespace(trial_id=name)
        scheduler.on_trial_add(None, trial)
        decisions[name] = scheduler.on_trial_result(None, trial, {"epochs": 1, "score": score})
    assert decisions == {"worse": "STOP", "better": "CONTINUE"}
    first = SimpleNamespace(trial_id="first")
    forgetful = _scheduler(job, [])
    forgetful.on_trial_add(None, first)
    assert forgetful.on_trial_result(None, first, {"epochs": 1, "score": 0.9}) == "CONTINUE"


def test_nothing_is_stopped_when_it_has_ended_anyway(tmp_path):
    """Three epochs, and rungs at 1 and at what would be 3: that one's decision would come too late to save anything."""
    job = sweep_job(tmp_path, early_stopping=Asha(grace_epochs=1, reduction_factor=3.0))
    scheduler = _scheduler(job, [])
    told = [("good", 1, 0.3), ("late", 1, 0.2), ("good", 3, 0.1), ("late", 3, 0.9)]
    trials = {name: SimpleNamespace(trial_id=name) for name in ("good", "late")}
    for trial in trials.values():
        scheduler.on_trial_add(None, trial)
    decisions = [
        scheduler.on_trial_result(None, trials[name], {"epochs": epochs, "score": score})
        for name, epochs, score in told
    ]
    assert decisions == ["CONTINUE"] * 4
    assert isinstance(_scheduler(replace(job, early_stopping=Asha(grace_epochs=3)), []), FIFOScheduler)


def test_a_stopped_trial_gives_its_workers_place_back(tmp_path, monkeypatch):
    """Ray Train would not, where there is no dashboard to ask; a sweep with early stopping then waited for ever."""
    write_trial(sweep_job(tmp_path), 0, 1.0, [0.5])
    place = "ab" * 18
    (trial_folder(tmp_path / "sweep", 0) / "stages" / "0-torso" / "placement_group").write_text(place)
    removed = []
    monkeypatch.setattr(module, "remove_placement_group", lambda group: removed.append(group.id.hex()))
    told = []
    watch = module._Watch(tmp_path / "sweep", lambda num, **figures: told.append(num))
    watch.on_trial_complete(0, [], SimpleNamespace(config={"number": 0}))
    assert removed == [place]
    assert told == [1]
    (trial,) = read_trials(tmp_path / "sweep")
    assert trial.outcome == Outcome(ending="stopped")


def test_a_folder_is_one_sweeps(tmp_path):
    job = sweep_job(tmp_path)
    (tmp_path / "sweep").mkdir()
    _claim(tmp_path / "sweep", job)
    more = replace(job, search=RandomSearch(num_trials=9), max_concurrent=1)
    _claim(tmp_path / "sweep", replace(more, base=replace(job.base, workers=Workers(num=4))))
    with pytest.raises(ValueError, match=r"another sweep has this folder; choose another base\.name"):
        _claim(tmp_path / "sweep", replace(job, space=(LogUniform(field=WEIGHT, low=0.5, high=10.0),)))


def test_bad_inputs_are_told_before_anything_starts(tmp_path):
    with pytest.raises(ValueError, match=r"manifest\.json: no such manifest"):
        tune(sweep_job(tmp_path, manifest=str(tmp_path / "manifest.json")))
    assert not (tmp_path / "sweep" / "trials").exists()


def test_a_trial_that_cannot_begin_is_told_with_its_job(tmp_path, monkeypatch):
    job = sweep_job(tmp_path)
    sweep = tmp_path / "sweep"
    begin_trial(sweep, 7, {WEIGHT: 2.0, "without": ()})
    (sweep / "sweep.json").write_text(codec.dumps(job))

    def fail(trial):
        raise ValueError("manifest.json: no such manifest\nmore")

    monkeypatch.setattr(module, "_train", fail)
    module.run_trial(str(sweep), {"number": 7})
    (trial,) = read_trials(sweep)
    assert trial.outcome == Outcome(ending="failed", reason="manifest.json: no such manifest")
    told = read_job(trial_folder(sweep, 7))
    assert (told.name, told.storage) == ("0007", str(sweep / "trials"))
    assert (
        told.cascade.stages[0].loss_weights.skeleton_mask == 2 * job.base.cascade.stages[0].loss_weights.skeleton_mask
    )


_DRIVER = """
import os, sys
from pathlib import Path
import ray
from mas_ray.config import codec
from mas_ray.config.sweep import TuneJob
from mas_ray.pipelines import session
from mas_ray.pipelines.tune import tune
with session.connect(num_cpus=3):
    tune(codec.loads(TuneJob, Path(sys.argv[1]).read_text()))
"""


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_a_sweep_survives_kills_of_its_driver_and_of_a_worker(tmp_path, tiny_dataset):
    """Three CPUs and two workers a trial: a second trial at once would have half of its workers, and both would wait.

    One trial explodes and fails for good; a worker of the second is killed, and then the driver; the rest goes on.
    """
    job = sweep_job(
        tmp_path,
        manifest=str(tiny_dataset.manifest),
        space=(Choice(field=WEIGHT, values=(1e30, 5.0, 20.0)), Choice(field="cascade.seed", values=(0,))),
        search=GridSearch(),
    )
    cascade = replace(
        job.base.cascade,
        stages=(replace(job.base.cascade.stages[0], num_anchor_only_steps=0, mask_ramp_steps=0),),
        steps_per_epoch=6,
    )
    job = replace(job, base=replace(job.base, cascade=cascade, workers=Workers(num=2), yardstick=Yardstick()))
    record = tmp_path / "sweep-job.json"
    record.write_text(codec.dumps(job))
    sweep = tmp_path / "sweep"
    driver = _start(record)
    second = trial_folder(sweep, 1) / "stages" / "0-torso" / "metrics.jsonl"
    _wait(lambda: len(read_lines(second)) >= 1, driver)
    before = {path.parent.name for path in sweep.glob("trials/*/outcome.json")}
    (worker, *_) = [p for p in psutil.Process(driver.pid).children(recursive=True) if "RayTrainWorker" in _title(p)]
    worker.kill()
    _wait(lambda: len(read_lines(second)) >= 2, driver)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    untouched = {name: (sweep / "trials" / name / "outcome.json").stat().st_mtime_ns for name in before}
    driver = _start(record)
    assert driver.wait(600) == 0
    trials = read_trials(sweep)
    assert [(trial.number, trial.outcome and trial.outcome.ending) for trial in trials] == [
        (0, "failed"),
        (1, "finished"),
        (2, "finished"),
    ]
    assert trials[0].outcome is not None
    assert "not finite" in (trials[0].outcome.reason or "")
    assert before == {"0000"}
    assert untouched == {name: (sweep / "trials" / name / "outcome.json").stat().st_mtime_ns for name in before}
    assert [told.num_epochs for told in trials[1].told] == [1, 2, 3]
    assert (sweep / "best_job.json").is_file()
    assert not (sweep / "tune").exists()
    _check_store(tmp_path)


def _check_store(tmp_path: Path) -> None:
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    by_parent: dict[str | None, list[str]] = {}
    for run in runs:
        by_parent.setdefault(run.data.tags.get("mlflow.parentRunId"), []).append(run.info.run_id)
    (sweep,) = by_parent[None]
    trials = {client.get_run(run).info.run_name: client.get_run(run) for run in by_parent[sweep]}
    assert {name: run.info.status for name, run in trials.items()} == {
        "0000": "FAILED",
        "0001": "FINISHED",
        "0002": "FINISHED",
    }
    assert trials["0002"].data.params["cascade.stages.0.loss_weights.skeleton_mask"] == "20.0"
    steps = [metric.step for metric in client.get_metric_history(trials["0001"].info.run_id, "yardstick/score")]
    assert steps == [1, 2, 3]
    assert {"sweep.html", "trials.md", "best_job.json"} <= {file.path for file in client.list_artifacts(sweep)}


def _start(record: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _DRIVER, str(record)]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


def _wait(come: object, driver: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + 300
    while not come():  # type: ignore[operator]
        assert driver.poll() is None, "the sweep ended too early"
        assert time.monotonic() < end_s
        time.sleep(0.1)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
