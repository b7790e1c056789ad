from dataclasses import fields, is_dataclass, replace
from typing import get_args, get_type_hints

import pytest
import yaml

from mas_ray import __version__
from mas_ray.config import codec
from mas_ray.config.ingest import SamMasks, SamWorkers
from mas_ray.config.jobs import (
    DemoJob,
    EvaluateJob,
    IngestJob,
    LearnJob,
    PredictJob,
    PredictVideosJob,
    TrainJob,
    Workers,
)
from mas_ray.config.search_space import LogUniform
from mas_ray.config.sweep import RandomSearch, TuneJob
from mas_ray.pipelines.rayjob import render
from mas_ray.pipelines.resources import memory_each_bytes, pools, shortage
from mas_ray.pipelines.submission import AUTOSCALING, RECORD, VERBS, Job, Record, submission

TRAIN = TrainJob(manifest="s3://d/manifest.json", storage="/data/runs", name="Human3.6M, first")
INGEST = IngestJob(root="s3://videos/dance", output="s3://datasets/dance", workers=Workers(num=4))
TUNE = TuneJob(
    base=replace(TRAIN, name="lambda", workers=Workers(num=2, gpus_each=0.5)),
    space=(LogUniform(field="cascade.stages.torso.loss_weights.skeleton_mask", low=0.1, high=1.0),),
    search=RandomSearch(num_trials=12),
    max_concurrent=3,
)
SAM = replace(
    INGEST,
    masks=SamMasks(checkpoint="/data/sam.pth", sha256="0" * 64),
    sam_workers=SamWorkers(num=3, cpus_each=2.0, gpus_each=1.0),
)


def test_every_job_has_a_verb():
    assert set(VERBS) == set(get_args(Job))


@pytest.mark.parametrize("job", [TRAIN, INGEST, TUNE, SAM])
def test_a_job_arrives_as_it_left(job):
    made = submission(job)
    record = codec.loads(Record, made.environment[RECORD])
    assert record == Record(job=job, code_version=__version__)
    assert made.entrypoint == f"python -m mas_ray.cli.submitted {VERBS[type(job)]}"
    assert AUTOSCALING not in made.environment
    assert submission(job, autoscaling=True).environment[AUTOSCALING] == "1"


def test_nothing_in_a_record_is_for_ray_to_fill_in():
    job = replace(TRAIN, name="${HOME}")
    made = submission(job)
    assert "$" not in made.environment[RECORD]
    assert codec.loads(Record, made.environment[RECORD]).job == job


def test_names_are_made_up_of_verb_and_subject_and_are_never_the_same():
    names = {submission(TRAIN).name for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("train-human3-6m-first-") for name in names)
    assert submission(INGEST).name.startswith("ingest-dance-")
    assert submission(TUNE).name.startswith("tune-lambda-")
    long = submission(replace(TRAIN, name="x" * 200)).name
    assert len(long) <= 47
    assert submission(TRAIN, name="mine-2").name == "mine-2"


@pytest.mark.parametrize("name", ["", "Mine", "2nd", "a b", "a" * 48, "a;b", "a-"])
def test_a_name_that_kubernetes_would_not_take(name):
    with pytest.raises(ValueError, match="name: expected a letter"):
        submission(TRAIN, name=name)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (replace(TRAIN, storage="runs"), "storage: 'runs' is relative to the folder you are in"),
        (replace(TRAIN, initial="checkpoint"), "initial: 'checkpoint' is relative"),
        (replace(TUNE, base=replace(TUNE.base, manifest="m.json")), "base.manifest: 'm.json' is relative"),
        (replace(SAM, masks=replace(SAM.masks, checkpoint="sam.pth")), "masks.checkpoint: 'sam.pth' is relative"),
        (replace(TRAIN, tracking_uri="https://me:secret@host"), "tracking_uri: credentials in an address"),
        (replace(INGEST, root="s3://key:secret@bucket"), "root: credentials in an address"),
        (
            PredictVideosJob(videos=("/a.mp4", "b.mp4"), checkpoint="packaged", output="/o"),
            "videos.1: 'b.mp4' is relative",
        ),
        (DemoJob(), "output: 'demo' is relative"),
        (LearnJob(), "output: 'learn' is relative"),
    ],
)
def test_what_other_machines_cannot_use_does_not_leave(job, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the message is compared
        submission(job)
    assert str(caught.value).startswith(message)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("initial", ["packaged", "models:/mas-ray@candidate", "s3://runs/checkpoint"])
def test_what_is_found_anywhere_may_leave(initial):
    submission(replace(TRAIN, initial=initial))
    submission(PredictJob(checkpoint=initial, manifest="s3://d/m.json", output="/data/p"))


def test_every_text_of_a_job_is_a_place_or_known_not_to_be_one():
    """A new field that names a file must not be forgotten: relative, it would be sought where the cluster runs it."""
    from mas_ray.pipelines.submission import _PLACES

    others = {"name", "tracking_uri", "registered_model", "corpus", "split", "front_cue", "stages", "actions"}
    for job in VERBS:
        hints = get_type_hints(job)
        texts = {field.name for field in fields(job) if "str" in str(hints[field.name]) or hints[field.name] is str}
        texts = {name for name in texts if not is_dataclass(hints[name])}
        assert texts <= _PLACES | others, job


def test_a_job_that_is_too_long_says_so():
    with pytest.raises(ValueError, match="bytes, and at most 100000 travel"):
        submission(replace(TRAIN, name="x" * 100_000))


def test_what_a_job_holds_at_once():
    assert pools(INGEST) == (INGEST.workers,)
    assert pools(SAM) == (SAM.workers, SAM.sam_workers)
    assert pools(replace(INGEST, sam_workers=SamWorkers())) == (INGEST.workers,)  # other masks need none
    assert pools(TUNE) == (TUNE.base.workers,)
    assert pools(EvaluateJob(checkpoint="packaged", manifest="m", annotations="a", output="o")) == ()
    assert memory_each_bytes(TRAIN) == memory_each_bytes(TUNE) == 2**30
    assert memory_each_bytes(INGEST) == 0


def test_a_shortage_names_what_is_lacking():
    there = {"CPU": 10.0, "GPU": 2.0, "memory": 2.0 * 2**30}
    assert shortage(there, pools(INGEST), "ingest") is None
    lack = shortage(there, pools(SAM), "ingest")
    assert lack == "ingest asks for 7 workers with 3 GPUs together, Ray has 2"
    lack = shortage(there, [Workers(num=3)], "training", memory_each_bytes=2**30)
    assert lack == "training asks for 3 workers with 3 GiB of memory together, Ray has 2"
    assert shortage({}, [Workers()], "ingest") == "ingest asks for 1 workers with 1 CPUs together, Ray has 0"


def rendered(job, **options):
    (document,) = yaml.safe_load_all(render(submission(job, autoscaling=True), **options))
    return document


@pytest.mark.parametrize(
    ("job", "cpu_pods", "gpu_pods"),
    [
        (TRAIN, 1, 1),
        (replace(TRAIN, workers=Workers(num=5, cpus_each=3.0)), 3, 1),  # two to a pod of 8
        (replace(TRAIN, workers=Workers(num=5, gpus_each=1.0)), 1, 5),
        (TUNE, 1, 3),  # three trials at once, two halves of a GPU each
        (SAM, 1, 3),
        (PredictJob(checkpoint="packaged", manifest="/m", output="/o"), 1, 1),
    ],
)
def test_a_rayjob_may_take_the_pods_that_it_needs(job, cpu_pods, gpu_pods):
    groups = rendered(job)["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert {group["groupName"]: group["maxReplicas"] for group in groups} == {"ingest": cpu_pods, "train": gpu_pods}


@pytest.mark.parametrize("workers", [Workers(cpus_each=9.0), Workers(gpus_each=2.0)])
def test_a_worker_that_no_pod_holds(workers):
    with pytest.raises(ValueError, match="workers: a pod of the template has 8 CPUs and at most one GPU"):
        rendered(replace(TRAIN, workers=workers))


def test_a_rayjob_has_the_image_that_is_asked_for():
    text = str(rendered(TRAIN, image="registry.example.com/team/mas-ray:7"))
    assert "'registry.example.com/team/mas-ray:7-cpu'" in text
    assert "'registry.example.com/team/mas-ray:7-gpu'" in text
    assert f"'mas-ray:{__version__}-cpu'" in str(rendered(TRAIN))
