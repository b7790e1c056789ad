from dataclasses import replace

import pytest

from mas_ray.config import codec
from mas_ray.config.cascade import CascadeConfig, cpu_cascade, paper_cascade
from mas_ray.config.ingest import BackgroundMasks, SamMasks, SplitByTail
from mas_ray.config.jobs import IngestJob, TrainJob, Workers


@pytest.mark.parametrize(
    "value",
    [
        TrainJob(manifest="m.json", storage="runs", cascade=cpu_cascade(), workers=Workers(num=2)),
        IngestJob(root="r", output="o", masks=BackgroundMasks(plate="given"), split=SplitByTail(test=3)),
        IngestJob(root="r", output="o", masks=SamMasks(checkpoint="sam.pth", sha256="0", seed=BackgroundMasks())),
        paper_cascade(),
    ],
)
def test_round_trip(value):
    assert codec.loads(type(value), codec.dumps(value)) == value


def test_unknown_key_names_file_path_and_nearest():
    text = codec.dumps(paper_cascade()).replace('"bone_set"', '"bone_sett"')
    with pytest.raises(ValueError, match=r"^job\.json\.stages\[0\]: unknown key 'bone_sett'; did you mean 'bone_set'"):
        codec.loads(CascadeConfig, text, "job.json")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"manifest": "m.json",', "", "missing key 'manifest'"),
        ('"num": 1', '"num": 0', r"job\.workers\.num: expected at least one worker"),
        ('"num": 1', '"num": "two"', r"job\.workers\.num: expected int, got 'two'"),
        ('"num": 1', '"num": true', r"job\.workers\.num: expected int, got True"),
        ('"cpus_each": 1.0', f'"cpus_each": {"9" * 400}', r"job\.workers\.cpus_each: expected float, got an integer"),
        ('"tight"', '"tihgt"', r"job\.cascade\.stages\[0\]\.bone_set: expected one of 'tight'"),
    ],
)
def test_errors_name_the_field(old, new, message):
    text = codec.dumps(TrainJob(manifest="m.json", storage="runs"))
    assert old in text
    with pytest.raises(ValueError, match=message):
        codec.loads(TrainJob, text.replace(old, new, 1), "job")


def test_union_member_must_be_named():
    text = codec.dumps(IngestJob(root="r", output="o")).replace('"SelfieMasks"', '"Selfies"')
    with pytest.raises(ValueError, match=r"masks\.kind: expected one of BackgroundMasks, ChromaKeyMasks"):
        codec.loads(IngestJob, text)


def test_bad_json_is_one_line():
    with pytest.raises(ValueError, match=r"^job\.json: not valid JSON") as caught:
        codec.loads(TrainJob, "{", "job.json")
    assert "\n" not in str(caught.value)


def test_bones_too_thin_for_the_map_are_refused():
    thin = tuple(replace(stage, arm_bone_width=0.01) for stage in paper_cascade().stages)
    with pytest.raises(ValueError, match=r"mask_size: .* expected at least 1"):
        replace(paper_cascade(), stages=thin)


@pytest.mark.parametrize(
    "field",
    [{"batch_size": 0}, {"steps_per_epoch": 0}, {"equivariance_views": 0}, {"mask_size": 65}, {"mask_size": 48}],
)
def test_sizes_that_cannot_be_are_refused(field):
    with pytest.raises(ValueError, match=f"{next(iter(field))}: expected"):
        replace(paper_cascade(), **field)
    with pytest.raises(ValueError, match="learning_rates: expected"):
        replace(paper_cascade().stages[0], learning_rates=())


@pytest.mark.parametrize("field", [{"max_attempts": 0}, {"max_reject_fraction": 50.0}])
def test_limits_of_an_ingest_that_cannot_be_are_refused(field):
    with pytest.raises(ValueError, match=f"{next(iter(field))}: expected"):
        IngestJob(root="r", output="o", **field)
