"""A recording that the project has never seen goes from video to report by the command line alone."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from mas_ray.annotations import ReferenceJoints, write_reference
from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.ingest import BackgroundMasks, SplitByTail
from mas_ray.config.jobs import IngestJob, TrainJob
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import Recording, frames, record
from mas_ray.corpora.take import Calibration
from mas_ray.pipelines.run_folder import read_cascade_result
from mas_ray.reporting.poses import POSES, read_rows
from mas_ray.skeleton import H36M_18
from mas_ray.tracking.spool import read_spool

NAMES = {"cam01": "links aussen", "cam02": "door", "cam03": "ceiling.3"}


def _write_recording(root: Path) -> Recording:
    """Three cameras of odd names and two sizes, lens distortion in a Pose2Sim calibration, no masks, no take.json."""
    recording = record(SyntheticConfig(num_cameras=3, instants_per_take=14, fps=5, width_px=240, height_px=320), 7, 1)
    take = root / "tuesday"
    tables: list[str] = []
    for camera, name in NAMES.items():
        calibration = recording.cameras[camera]
        pictures = [image for image, _ in frames(recording, camera)]
        if camera == "cam02":
            calibration, pictures = _cropped(calibration, pictures, width=200)
        _write_video(take / "videos" / f"{name}.mp4", pictures)
        plate = recording.backgrounds[camera][:, : calibration.width_px, ::-1]
        (take / "backgrounds").mkdir(exist_ok=True)
        cv2.imwrite(str(take / "backgrounds" / f"{name}.png"), plate)
        tables.append(_toml(name, calibration))
    (take / "calibration").mkdir()
    (take / "calibration" / "Calib.toml").write_text("\n".join(tables) + "\n[metadata]\nadjusted = false\n")
    joints = recording.body.joints_world_mm
    write_reference(
        take / "reference.parquet",
        ReferenceJoints(
            instants=np.arange(len(joints), dtype=np.int64),
            joints_world_mm=joints,
            valid=np.ones(joints.shape[:2], bool),
            source="a tape measure",
        ),
    )
    return recording


def _cropped(calibration: Calibration, pictures: list[np.ndarray], width: int) -> tuple[Calibration, list[np.ndarray]]:
    return replace(calibration, width_px=width), [np.ascontiguousarray(image[:, :width]) for image in pictures]


def _toml(name: str, calibration: Calibration) -> str:
    rotation = cv2.Rodrigues(calibration.R)[0].ravel().tolist()
    return (
        f'["{name}"]\nname = "{name}"\nsize = [{calibration.width_px}.0, {calibration.height_px}.0]\n'
        f"matrix = {calibration.K.tolist()}\ndistortions = [0.0, 0.0, 0.0, 0.0]\n"
        f"rotation = {rotation}\ntranslation = {(calibration.t_mm / 1000).tolist()}\nfisheye = false\n"
    )


def _write_video(path: Path, pictures: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5, options={"crf": "16"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def _mas_ray(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "mas_ray.cli.main", *arguments]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=400, check=False)
    assert result.returncode == 0, f"{' '.join(arguments)}\n{result.stderr[-3000:]}"
    return result.stdout


@pytest.mark.slow
@pytest.mark.ray
def test_ingest_train_evaluate_predict_report(tmp_path):
    recording = _write_recording(tmp_path / "corpus")
    ingest = IngestJob(
        root="corpus",
        output="dataset",
        annotations="annotations",
        masks=BackgroundMasks(plate="given"),
        split=SplitByTail(test=4, gap=1, validation=2),
    )
    (tmp_path / "ingest.json").write_text(codec.dumps(ingest))
    assert "14 instants of 1 takes" in _mas_ray(tmp_path, "ingest", "--job", "ingest.json")

    stages = tuple(
        replace(stage, learning_rates=((3, 2e-3),), num_anchor_only_steps=0, mask_ramp_steps=0, num_direct_only_steps=2)
        for stage in cpu_cascade().stages[::2]
    )
    cascade = replace(cpu_cascade(), stages=stages, steps_per_epoch=6)
    train = TrainJob(manifest="dataset/manifest.json", storage="runs", cascade=cascade)
    (tmp_path / "train.json").write_text(codec.dumps(train))
    _mas_ray(tmp_path, "train", "--job", "train.json")
    run = tmp_path / "runs" / "cascade"
    losses = [epoch["validation/reconstruction"] for epoch in read_spool(run / "stages" / "0-torso" / "metrics.jsonl")]
    assert losses[-1] < losses[0]
    checkpoint = f"runs/cascade/{read_cascade_result(run).checkpoint}"

    common = ("--checkpoint", checkpoint, "--manifest", "dataset/manifest.json")
    said = _mas_ray(tmp_path, "evaluate", *common, "--annotations", "annotations", "--output", "evaluation")
    assert "4 frame sets of the test split against: a tape measure" in said
    _mas_ray(tmp_path, "predict", *common, "--corpus-root", "corpus", "--output", "predictions")
    _mas_ray(
        tmp_path,
        *("report", "--run", "runs/cascade", "--manifest", "dataset/manifest.json", "--output", "report.html"),
        *("--evaluation", "evaluation", "--predictions", "predictions"),
    )

    rows = list(read_rows(tmp_path / "predictions" / "poses.parquet", schema=POSES, skeleton=H36M_18))
    assert [row["instant"] for row in rows] == list(range(recording.num_instants))
    assert {view["name"] for view in rows[0]["views"]} == set(NAMES.values())
    assert torch.isfinite(torch.tensor(rows[0]["joints_world_mm"])).all()
    overlays = sorted(path.name for path in (tmp_path / "predictions" / "overlays").iterdir())
    assert overlays == sorted(f"tuesday-{name}.mp4" for name in NAMES.values())
    evaluation = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert evaluation["source"]["reference"] == "a tape measure"
    assert "a tape measure" in (tmp_path / "report.html").read_text()
