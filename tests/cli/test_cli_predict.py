"""mas-ray predict: what a command line stands for, and what it says when it makes no sense."""

from __future__ import annotations

import pytest

from mas_ray.cli import predict
from mas_ray.cli.main import main
from mas_ray.config.ingest import BackgroundMasks, FrameSampling
from mas_ray.config.jobs import PredictJob, PredictVideosJob, Workers
from mas_ray.config.predict import OneEuro
from mas_ray.pipelines import predict as predict_pipeline
from mas_ray.pipelines import predict_videos as videos_pipeline
from mas_ray.pipelines.predict import Predictions

COMMON = ("--checkpoint", "packaged", "--output", "out")


def test_videos_are_masked_first():
    argv = ["a.mp4", "b.mp4", *COMMON, "--masks", "background", "--stride", "3", "--smooth", "--workers", "2"]
    assert predict.job_of(argv) == PredictVideosJob(
        videos=("a.mp4", "b.mp4"),
        checkpoint="packaged",
        output="out",
        masks=BackgroundMasks(),
        sampling=FrameSampling(stride=3),
        smoothing=OneEuro(),
        workers=Workers(num=2),
    )


def test_a_dataset_is_named_by_its_folder_or_its_manifest(tmp_path):
    (tmp_path / "manifest.json").touch()
    manifest = str(tmp_path / "manifest.json")
    expected = PredictJob(checkpoint="packaged", manifest=manifest, output="out")
    for argv in ([str(tmp_path)], [manifest], ["--manifest", manifest]):
        assert predict.job_of([*argv, *COMMON]) == expected
    assert predict.job_of([str(tmp_path), *COMMON, "--formats", "trc"]).formats == ("trc",)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "name videos, a folder of them or a dataset"),
        (["a.mp4", "--manifest", "m.json"], "name videos, a folder of them or a dataset"),
        (["--manifest", "m.json", "--stride", "2"], "--masks, --stride: a dataset has been masked"),
        (["a.mp4", "--corpus-root", "c"], "--corpus-root: belongs to a dataset"),
    ],
)
def test_what_makes_no_sense_is_said(argv, message, capsys):
    assert main(["predict", *argv, *COMMON]) == 1
    assert message in capsys.readouterr().err


def test_what_is_no_video_is_named_before_anything_runs(tmp_path, capsys):
    text, video = tmp_path / "notes.txt", tmp_path / "other" / "a.mp4"
    text.touch()
    video.parent.mkdir()
    video.touch()
    (tmp_path / "a.mp4").touch()
    out = ("--checkpoint", "packaged", "--output", str(tmp_path / "out"))
    for argv, message in (
        ([str(tmp_path / "none.mp4")], "none.mp4: no such video"),
        ([str(text), str(video)], "notes.txt: expected a video (.3gp, .avi"),
        ([str(tmp_path / "a.mp4"), str(video)], "videos: two are called a.mp4"),
    ):
        assert main(["predict", *argv, *out]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_was_written_is_listed(monkeypatch, capsys):
    predictions = Predictions(
        poses="out/poses.parquet", overlays=("out/a.mp4",), others={"trc": ("out/trc/a.trc",)}, num_frame_sets=7
    )
    monkeypatch.setattr(predict_pipeline, "predict", lambda job: predictions)
    monkeypatch.setattr(videos_pipeline, "predict_videos", lambda job: predictions)
    for argv in (["a.mp4"], ["--manifest", "m.json"]):
        assert predict.run([*argv, *COMMON]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "7 instants predicted",
            "wrote out/poses.parquet",
            "wrote out/trc/a.trc",
            "wrote out/a.mp4",
        ]
