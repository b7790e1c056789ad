from dataclasses import replace
from pathlib import Path

import pytest
from fresh_checkpoint import save_fresh
from single_views import write_single_views

from mas_ray.config.ablations import without_name_search
from mas_ray.config.cascade import cpu_cascade, mixed_view_finetune
from mas_ray.config.ingest import SplitByTail
from mas_ray.config.jobs import TrainJob
from mas_ray.config.stage import TeacherConfig
from mas_ray.config.yardstick import Yardstick
from mas_ray.pipelines.claim import check_inputs, claim, identity, locked
from mas_ray.shards.manifest import file_sha256, read_manifest, write_manifest


@pytest.fixture
def job(tmp_path, tiny_dataset):
    """A fine-tuning job whose inputs are all in order."""
    return TrainJob(
        manifest=str(tiny_dataset.manifest),
        storage=str(tmp_path / "runs"),
        cascade=mixed_view_finetune(cpu_cascade()),
        single_view_manifest=str(write_single_views(tmp_path / "single", tiny_dataset.manifest)),
        initial=str(save_fresh(tmp_path / "initial", seed=0)),
    )


def _taught(job: TrainJob) -> TrainJob:
    stage = replace(job.cascade.stages[0], teacher=TeacherConfig(), anchor="teacher", num_anchor_steps=10)
    return replace(job, cascade=replace(job.cascade, stages=(stage,)))


def test_a_record_holds_the_digest_of_every_input(job):
    record = check_inputs(job)
    assert record.cascade == job.cascade
    assert record.manifest_sha256 == file_sha256(Path(job.manifest))
    assert record.single_view_manifest_sha256 == file_sha256(Path(job.single_view_manifest))
    (Path(job.initial) / "sha256.json").unlink()
    (Path(job.initial) / "progress.json").write_text((Path(job.initial) / "progress.json").read_text() + " ")
    assert check_inputs(job).initial_sha256 != record.initial_sha256
    plain = check_inputs(replace(job, cascade=cpu_cascade(), single_view_manifest=None, initial=None))
    assert plain.single_view_manifest_sha256 is plain.initial_sha256 is None


def test_what_there_is_to_train_on_is_told_first(job, capsys):
    check_inputs(job)
    told = f"train: {job.manifest}: instants: 8 train, 8 validate, 8 test\n"
    assert capsys.readouterr().err == told
    path = Path(job.manifest).parent / "tail.json"
    write_manifest(
        path, replace(read_manifest(Path(job.manifest)), split_config=SplitByTail(test=6, validation=1, gap=0))
    )
    check_inputs(replace(job, manifest=str(path)))
    assert "train: only 12% of the instants train; the job's `split` says" in capsys.readouterr().err


def test_single_views_are_required_by_a_share_and_refused_without(job):
    with pytest.raises(ValueError, match="single_view_manifest: stage 'mixed_view' has a single_view_share; name"):
        check_inputs(replace(job, single_view_manifest=None))
    control = mixed_view_finetune(cpu_cascade(), single_view_share=0.0)
    with pytest.raises(ValueError, match="single_view_manifest: no stage of the cascade has a single_view_share"):
        check_inputs(replace(job, cascade=control))
    check_inputs(replace(job, cascade=control, single_view_manifest=None))


def test_a_single_view_dataset_that_cannot_train_is_named(job, tmp_path, tiny_dataset):
    empty = write_single_views(tmp_path / "empty", tiny_dataset.manifest, trains=False)
    with pytest.raises(ValueError, match=r"empty/manifest\.json: the train split is empty"):
        check_inputs(replace(job, single_view_manifest=str(empty)))
    with pytest.raises(ValueError, match="take s00 has 4 views; expected single views only"):
        check_inputs(replace(job, single_view_manifest=str(tiny_dataset.manifest)))
    (Path(job.single_view_manifest).parent / "shards" / "part-00002.parquet").unlink()
    with pytest.raises(ValueError, match=r"single/shards/part-00002\.parquet: missing or damaged shard"):
        check_inputs(job)
    with pytest.raises(ValueError, match=r"nowhere\.json: no such manifest"):
        check_inputs(replace(job, single_view_manifest=str(tmp_path / "nowhere.json")))


def test_a_checkpoint_of_other_networks_is_refused_by_the_first_field(job):
    for network, change, text in (
        ("detector", {"width": 32, "head_width": 64}, r"cascade\.detector\.width is 16 there, 32 in this job"),
        ("shape_prior", {"widths": (4, 8)}, r"cascade\.shape_prior\.widths is \(8, 16\) there, \(4, 8\) in this job"),
    ):
        other = replace(job.cascade, **{network: replace(getattr(job.cascade, network), **change)})
        with pytest.raises(ValueError, match=f"initial: {text}"):
            check_inputs(replace(job, cascade=other))
    with pytest.raises(ValueError, match="no checkpoint here"):
        check_inputs(replace(job, initial=str(Path(job.initial).parent)))


def test_a_teacher_of_the_first_stage_is_the_initial_checkpoint(job):
    check_inputs(_taught(job))
    with pytest.raises(ValueError, match="initial: the first stage, 'mixed_view', has a teacher; name the checkpoint"):
        check_inputs(replace(_taught(job), initial=None))


def test_a_password_never_gets_into_a_record(job):
    with pytest.raises(ValueError, match="tracking_uri: credentials in an address end up in records") as caught:
        check_inputs(replace(job, tracking_uri="https://me:secret@tracking:5000"))
    assert "secret" not in str(caught.value)
    check_inputs(replace(job, tracking_uri="https://tracking:5000"))


def test_a_folder_never_mixes_two_runs(job, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    record = check_inputs(job)
    claim(run, record)
    claim(run, record)
    other = check_inputs(replace(job, initial=str(save_fresh(tmp_path / "other", seed=1))))
    for different, text in (
        (other, "started from other weights"),
        (replace(record, initial_sha256=None), "started from other weights"),
        (replace(record, single_view_manifest_sha256="0"), "was trained on another single-view dataset"),
        (replace(record, manifest_sha256="0"), "was trained on another dataset"),
        (replace(record, cascade=replace(job.cascade, seed=1)), "has another cascade"),
    ):
        with pytest.raises(ValueError, match=rf"run\.json: this run {text}; choose another name or delete it"):
            claim(run, different)
    claim(run, record)


def test_how_it_is_measured_makes_no_other_run(job):
    assert check_inputs(replace(job, yardstick=Yardstick())) == check_inputs(job)


def test_a_folder_made_anew_is_another_run(tmp_path):
    known = identity(tmp_path)
    assert identity(tmp_path) == known
    (tmp_path / "id").unlink()
    assert identity(tmp_path) != known


def test_one_process_trains_a_run(tmp_path):
    with locked(tmp_path / "run"), pytest.raises(ValueError, match="another process is training this run"):
        locked(tmp_path / "run").__enter__()
    with locked(tmp_path / "run"):
        pass


def test_more_views_than_names_can_be_searched_for_are_refused_before_training(job):
    folder = Path(job.manifest).parent
    manifest = read_manifest(Path(job.manifest))
    take = replace(manifest.takes[0], views=tuple(f"cam{n}" for n in range(9)))
    crowded = folder / "crowded.json"
    write_manifest(crowded, replace(manifest, takes=(take, *manifest.takes[1:])))
    many = replace(job, manifest=str(crowded), cascade=cpu_cascade(), single_view_manifest=None, initial=None)
    with pytest.raises(ValueError, match="a take has 9 views; a cascade with resolve_names takes 8 at most"):
        check_inputs(many)
    check_inputs(replace(many, cascade=without_name_search(cpu_cascade())))
