"""Videos from anywhere: masked, predicted, drawn; those without a person are left out and said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fresh_checkpoint import save_fresh
from moving_square import HEIGHT, WIDTH, picture, write_video

from mas_ray.config.ingest import MotionMasks
from mas_ray.config.jobs import PredictVideosJob
from mas_ray.pipelines import predict_videos as pipeline
from mas_ray.pipelines.predict_videos import predict_videos
from mas_ray.reporting.poses import POSES, read_parts, read_rows
from mas_ray.skeleton import H36M_18

NUM_FRAMES = 20


def write_empty(path: Path) -> Path:
    return write_video(path, [np.full((HEIGHT, WIDTH, 3), 40, np.uint8)] * NUM_FRAMES)


@pytest.mark.slow
@pytest.mark.ray
def test_videos_of_two_folders_are_predicted(tmp_path, capfd):
    figure = write_video(tmp_path / "one" / "figure.mp4", [picture(n, 1) for n in range(NUM_FRAMES)])
    empty = write_empty(tmp_path / "two" / "empty.mp4")
    job = PredictVideosJob(
        videos=(str(figure), str(empty)),
        checkpoint=str(save_fresh(tmp_path / "checkpoint", seed=0)),
        output=str(tmp_path / "out"),
        masks=MotionMasks(),
    )
    predictions = predict_videos(job)
    rows = read_rows(Path(predictions.poses), schema=POSES, skeleton=H36M_18)
    assert {row["take_id"] for row in rows} == {"figure.mp4"}
    assert predictions.num_frame_sets == len(rows) > NUM_FRAMES / 2
    assert {view["name"] for row in rows for view in row["views"]} == {"figure"}
    assert [Path(path).name for path in predictions.overlays] == ["figure.mp4-figure.mp4"]
    for kind in ("json", "coco", "trc", "bvh"):
        assert (tmp_path / "out" / kind / f"figure.mp4.{'json' if kind == 'coco' else kind}").is_file()
    assert all(view["joints_camera_mm"] for part in read_parts(Path(predictions.poses)) for view in part[0]["views"])

    before = Path(predictions.poses).read_bytes()
    capfd.readouterr()
    assert predict_videos(job) == predictions
    assert Path(predictions.poses).read_bytes() == before
    assert "complete, nothing to do" in capfd.readouterr().err

    nobody = replace(job, videos=(str(empty),), output=str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match=r"1 of 1 takes yield nothing .* most often no_person"):
        predict_videos(nobody)


def test_a_folder_is_a_corpus_as_it_is_and_files_are_gathered(tmp_path, monkeypatch):
    roots: list[Path] = []

    class StopError(Exception):
        pass

    def ingest(job):
        roots.append(Path(job.root))
        raise StopError

    monkeypatch.setattr(pipeline, "ingest", ingest)
    corpus = tmp_path / "corpus"
    for name in ("a.mp4", "b.mp4"):
        write_empty(corpus / name)
    job = PredictVideosJob(videos=(str(corpus),), checkpoint="packaged", output=str(tmp_path / "out"))
    for videos in ((str(corpus),), (str(corpus / "a.mp4"), str(corpus / "b.mp4")), (str(corpus / "b.mp4"),)):
        with pytest.raises(StopError):
            predict_videos(replace(job, videos=videos))
    assert roots == [corpus, tmp_path / "out" / "videos", tmp_path / "out" / "videos"]
    assert [path.name for path in roots[-1].iterdir()] == ["b.mp4"]  # of the last command alone
    assert (roots[-1] / "b.mp4").read_bytes() == (corpus / "b.mp4").read_bytes()
    with pytest.raises(ValueError, match="is in a store; there, name a folder of videos"):
        predict_videos(replace(job, videos=(str(corpus / "a.mp4"),), output="fsspec+memory://out"))
