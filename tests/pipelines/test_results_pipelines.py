"""evaluate, predict and report on a small dataset, with an estimator that is told the truth."""

from __future__ import annotations

import dataclasses
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from fresh_checkpoint import save_fresh
from mlflow import MlflowClient
from test_object_store import upload

from mas_ray.annotations import read_reference
from mas_ray.config import codec
from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.ingest import CropConfig, DecodeLimits, FrameSampling, MaskQualityConfig, NoSplit, ProvidedMasks
from mas_ray.config.jobs import EvaluateJob, PredictJob, ReportJob, TrainJob
from mas_ray.config.predict import OneEuro
from mas_ray.corpora.folder import takes
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import write_corpus
from mas_ray.corpora.trc import read_trc
from mas_ray.evaluation.record import read_evaluation
from mas_ray.geometry.camera import Camera
from mas_ray.geometry.pixel_grid import ndc_from_pixel
from mas_ray.inference import FrameSetEstimator, PosePrediction
from mas_ray.ingest.decode import open_clip
from mas_ray.pipelines import evaluate as evaluate_pipeline
from mas_ray.pipelines import predict as predict_pipeline
from mas_ray.pipelines import report as report_pipeline
from mas_ray.pipelines import take_comparison
from mas_ray.reporting.poses import POSES, read_rows
from mas_ray.shards.images import encode_distances, encode_image, encode_mask
from mas_ray.shards.location import location, names_in
from mas_ray.shards.manifest import (
    FORMAT,
    IngestParameters,
    InstantRange,
    Manifest,
    RejectCount,
    ShardEntry,
    Splits,
    TakeEntry,
    file_sha256,
    write_manifest,
)
from mas_ray.shards.read import read_split
from mas_ray.shards.transfer import local_copy
from mas_ray.shards.write import write_rows
from mas_ray.skeleton import H36M_18

CROP_PX = 64
NUM_INSTANTS = 12
CORPUS = SyntheticConfig(
    num_subjects=1,
    takes_per_subject=1,
    instants_per_take=NUM_INSTANTS,
    num_cameras=3,
    width_px=128,
    height_px=128,
    write_masks=True,
)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``corpus/``, ``dataset/``, ``annotations/`` and ``runs/dance/`` as the other verbs leave them."""
    root = tmp_path_factory.mktemp("workplace")
    write_corpus(root / "corpus", CORPUS)
    (take,) = takes(root / "corpus")
    instants = range(NUM_INSTANTS)
    crop = np.array([[0.5, 0.0, 0.25], [0.0, 0.5, 0.25]])
    views: list[list[dict[str, object]]] = [[] for _ in instants]
    for clip in take.clips:
        with open_clip(clip, DecodeLimits()) as source:
            mask_of = source.masks(instants)
            calibration = clip.calibration
            assert calibration is not None
            for instant, image in source.frames(instants):
                mask = mask_of(instant)
                assert image is not None
                assert mask is not None
                small = cv2.warpAffine(mask.astype(np.uint8), crop, (CROP_PX, CROP_PX)) > 0
                views[instant].append(
                    {
                        "name": clip.view,
                        "image": encode_image(cv2.warpAffine(image, crop, (CROP_PX, CROP_PX)).astype(np.uint8)),
                        "mask": encode_mask(small),
                        "geodesic_distance": encode_distances(np.zeros((2, 128, 128), np.float32)),
                        "mask_source": "provided",
                        "mask_score": 1.0,
                        "crop_from_image": crop.ravel().tolist(),
                        "calibrated": True,
                        "K": calibration.K.ravel().tolist(),
                        "R": calibration.R.ravel().tolist(),
                        "t_mm": calibration.t_mm.tolist(),
                    }
                )
    rows = [
        {"take_id": take.take_id, "instant": n, "shot": 0, "timestamp_s": n / 10, "views": views[n]} for n in instants
    ]
    shard = root / "dataset" / "shards" / "000.parquet"
    write_rows(shard, rows)
    write_manifest(
        root / "dataset" / "manifest.json",
        Manifest(
            format=FORMAT,
            schema_version=1,
            code_version="0",
            corpus="<studio>",
            parameters=IngestParameters(
                masks=ProvidedMasks(),
                mask_quality=MaskQualityConfig(),
                crop=CropConfig(size_px=CROP_PX),
                sampling=FrameSampling(),
            ),
            split_config=NoSplit(),
            takes=(
                TakeEntry(
                    take_id=take.take_id,
                    subject=take.subject,
                    action=take.action,
                    views=tuple(clip.view for clip in take.clips),
                    num_instants=NUM_INSTANTS,
                ),
            ),
            shards=(
                ShardEntry(
                    path="shards/000.parquet", rows=NUM_INSTANTS, sha256=file_sha256(shard), takes=(take.take_id,)
                ),
            ),
            splits=Splits(
                train=(InstantRange(take_id=take.take_id, start=0, stop=6),),
                validation=(),
                test=(InstantRange(take_id=take.take_id, start=8, stop=12),),
            ),
            rejects=(RejectCount(reason="no_person", level="view", count=3),),
        ),
    )
    assert take.reference is not None
    annotations = root / "annotations"
    annotations.mkdir()
    (annotations / f"{take.take_id}.parquet").write_bytes(Path(take.reference).read_bytes())
    _write_run(root / "runs" / "dance", root / "dataset" / "manifest.json")
    return root


def _write_run(run: Path, manifest: Path) -> None:
    cascade = cpu_cascade()
    stages = []
    for index, stage in enumerate(cascade.stages):
        folder = run / "stages" / f"{index}-{stage.name}"
        folder.mkdir(parents=True)
        records = [
            {"stage": stage.name, "epoch": e, "step": 50 * (e + 1), "loss/total": 9.0 / (e + 1), "loss/symmetry": 0.1,
             "validation/reconstruction": 1.0 / (e + 1), "learning_rate": 2e-3, "images_per_s": 80.0}
            for e in range(stage.num_epochs)
        ]  # fmt: skip
        (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        stages.append({"stage": stage.name, "checkpoint": f"{folder.name}/best", "validation_reconstruction": 0.1})
    (run / "cascade.json").write_text(json.dumps({"checkpoint": stages[-1]["checkpoint"], "stages": stages}))
    job = TrainJob(manifest=str(manifest), storage=str(run.parent), name="dance", cascade=cascade)
    (run / "job.json").write_text(codec.dumps(job))


class TruthfulEstimator(FrameSetEstimator):
    """Predicts the reference, ``offset_px`` to the right in every view and 10 mm higher in the world."""

    skeleton = H36M_18
    cascade = cpu_cascade()
    offset_px = 2.0
    joints_world_mm: np.ndarray
    """Of the workplace's take."""

    def __init__(self) -> None:
        pass

    @classmethod
    def load(cls, checkpoint: Path) -> TruthfulEstimator:
        return cls()

    def predict(self, rows: Sequence[Mapping[str, Any]], view_slots: Mapping[str, tuple[str, ...]]) -> PosePrediction:
        views = view_slots[rows[0]["take_id"]]
        world = torch.from_numpy(self.joints_world_mm[[row["instant"] for row in rows]]).float()
        in_views = world.unsqueeze(1).expand(-1, len(views), -1, -1)

        def stacked(key: str, *shape: int) -> torch.Tensor:
            return torch.tensor([[v[key] for v in row["views"]] for row in rows]).reshape(len(rows), -1, *shape).float()

        camera = Camera(K=stacked("K", 3, 3), R=stacked("R", 3, 3), t_mm=stacked("t_mm", 3))
        depth = camera.camera_from_world(in_views)[..., 2]
        keypoints = camera.project(in_views) + torch.tensor([self.offset_px, 0.0])
        affine = stacked("crop_from_image", 2, 3)
        crop_px = keypoints @ affine[..., :2].transpose(-1, -2) + affine[..., 2].unsqueeze(-2)
        return PosePrediction(
            take_id=tuple(row["take_id"] for row in rows),
            instant=tuple(row["instant"] for row in rows),
            timestamp_s=tuple(row["timestamp_s"] for row in rows),
            views=(tuple(views),) * len(rows),
            keypoints_px=keypoints,
            keypoints_crop_ndc=ndc_from_pixel(crop_px, CROP_PX),
            depth_mm=depth - depth[..., :1],
            confidence=torch.ones(keypoints.shape[:-1]),
            valid=torch.ones(keypoints.shape[:2], dtype=torch.bool),
            joints_world_mm=world + torch.tensor([0.0, 0.0, 10.0]),
        )

    def render(self, keypoints_crop_ndc: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(64, 64), torch.ones(64, 64)


@pytest.fixture(autouse=True)
def _truthful(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (reference,) = (workplace / "annotations").iterdir()
    monkeypatch.setattr(TruthfulEstimator, "joints_world_mm", read_reference(reference).joints_world_mm, raising=False)
    for pipeline in (evaluate_pipeline, predict_pipeline, report_pipeline):
        monkeypatch.setattr(pipeline, "FrameSetEstimator", TruthfulEstimator)


class _StopError(Exception):
    pass


def _stop(seen: dict[str, Any], maps: object) -> None:
    seen["maps"] = maps
    raise _StopError


def _evaluate_job(root: Path) -> EvaluateJob:
    return EvaluateJob(
        checkpoint="checkpoint",
        manifest=str(root / "dataset" / "manifest.json"),
        annotations=str(root / "annotations"),
        output=str(root / "evaluation"),
    )


def _predict_job(root: Path) -> PredictJob:
    return PredictJob(
        checkpoint="checkpoint",
        manifest=str(root / "dataset" / "manifest.json"),
        output=str(root / "predictions"),
        corpus_root=str(root / "corpus"),
    )


def test_evaluate_measures_the_error_that_was_put_in(workplace):
    evaluation = evaluate_pipeline.evaluate(_evaluate_job(workplace))
    raw = evaluation.under("raw")
    assert raw.keypoints is not None
    assert raw.keypoints.px == pytest.approx(2.0, abs=1e-3)
    assert raw.keypoints.percent_of_crop == pytest.approx(100 * 1.0 / CROP_PX, abs=1e-3)
    assert raw.keypoints.num_views == 4 * 3
    assert raw.triangulated is not None
    assert raw.triangulated.mpjpe_mm == pytest.approx(0, abs=1e-2)
    assert evaluation.ambiguity_ratio == 0
    assert evaluation.source.reference == "exact (synthetic)"
    assert evaluation.source.num_frame_sets == 4
    assert evaluation.source.takes_also_trained_on == evaluation.source.takes
    assert read_evaluation(workplace / "evaluation" / "evaluation.json") == evaluation
    compared = pq.read_table(workplace / "evaluation" / "compared.parquet").to_pylist()
    assert [row["instant"] for row in compared] == [8, 9, 10, 11]
    apart = np.array(compared[0]["predicted_mm"]) - np.array(compared[0]["reference_mm"])
    assert np.allclose(apart, (0, 0, 10), atol=1e-2)


def test_evaluate_shows_the_best_and_the_worst(workplace):
    evaluate_pipeline.evaluate(_evaluate_job(workplace))
    page = (workplace / "evaluation" / "evaluation.html").read_text()
    where = re.findall(r"<figcaption>([^<]* frame [0-9]+ [^<]*)</figcaption>", page)
    assert len(where) == 8  # four frame sets, as the best and as the worst
    assert where[:4] == where[:3:-1]
    assert page.count("data:image/jpeg") == 8


def test_evaluate_logs_once_to_mlflow(workplace, tmp_path):
    job = dataclasses.replace(_evaluate_job(workplace), tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    for _ in range(2):
        evaluation = evaluate_pipeline.evaluate(job)
    client = MlflowClient(tracking_uri=job.tracking_uri)
    (run,) = client.search_runs([client.get_experiment_by_name("mas-ray").experiment_id])
    assert run.info.status == "FINISHED"
    raw = evaluation.under("raw")
    assert raw.keypoints is not None
    assert run.data.metrics["raw/keypoints/percent_of_crop"] == raw.keypoints.percent_of_crop
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"evaluation.html", "evaluation.json"}


def test_a_store_that_is_not_there_costs_no_evaluation(workplace, monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    job = dataclasses.replace(_evaluate_job(workplace), output=str(tmp_path / "out"))
    assert evaluate_pipeline.evaluate(job) == read_evaluation(tmp_path / "out" / "evaluation.json")
    assert "evaluate: not logged: tracking_uri: the MLflow store cannot be opened" in capfd.readouterr().err


def test_evaluate_fits_both_maps_to_the_training_split_when_asked(workplace, monkeypatch):
    monkeypatch.setattr(evaluate_pipeline, "supervised_errors", lambda *_, regressor, **__: regressor)
    seen = {}
    monkeypatch.setattr(evaluate_pipeline, "evaluate_comparison", lambda *_, supervised, **__: _stop(seen, supervised))
    with pytest.raises(_StopError):
        evaluate_pipeline.evaluate(dataclasses.replace(_evaluate_job(workplace), supervised_postprocess=True))
    assert seen["maps"] == ["linear", "two_hidden_layers"]


def test_evaluate_counts_instants_without_a_reference(workplace, tmp_path):
    (source,) = (workplace / "annotations").iterdir()
    table = pq.read_table(source)
    pq.write_table(table.slice(0, 10), tmp_path / source.name)
    job = dataclasses.replace(_evaluate_job(workplace), annotations=str(tmp_path), output=str(tmp_path / "out"))
    found = evaluate_pipeline.evaluate(job).source
    assert (found.num_frame_sets, found.num_without_reference) == (2, 2)
    pq.write_table(table.slice(0, 3), tmp_path / source.name)
    with pytest.raises(ValueError, match="the reference has none of the 4 instants of the split"):
        evaluate_pipeline.evaluate(job)


def test_evaluate_names_what_is_missing(workplace, tmp_path):
    job = _evaluate_job(workplace)
    with pytest.raises(ValueError, match=r"manifest.json: the validation split is empty"):
        evaluate_pipeline.evaluate(dataclasses.replace(job, split="validation"))
    with pytest.raises(ValueError, match=r"\.parquet: no reference joints for take"):
        evaluate_pipeline.evaluate(dataclasses.replace(job, annotations=str(tmp_path)))


def test_evaluate_needs_a_calibrated_view(workplace, monkeypatch):
    def uncalibrated(*args: Any, **more: Any) -> Iterator[dict]:
        for row in read_split(*args, **more):
            yield row | {"views": [view | {"calibrated": False} for view in row["views"]]}

    monkeypatch.setattr(take_comparison, "read_split", uncalibrated)
    with pytest.raises(ValueError, match=r"manifest\.json: no view of the test split is calibrated"):
        evaluate_pipeline.evaluate(_evaluate_job(workplace))


def test_predict_writes_the_poses_and_a_video_per_camera(workplace):
    predictions = predict_pipeline.predict(_predict_job(workplace))
    rows = read_rows(Path(predictions.poses), schema=POSES, skeleton=H36M_18)
    assert [row["instant"] for row in rows] == list(range(NUM_INSTANTS))
    assert rows[3]["timestamp_s"] == pytest.approx(0.3)
    assert np.array(rows[0]["views"][0]["keypoints_px"]).shape == (18, 2)
    assert len(predictions.overlays) == 3
    assert [view["name"] for view in rows[0]["views"]] == ["cam01", "cam02", "cam03"]
    with av.open(predictions.overlays[0]) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 10
        assert sum(1 for _ in container.decode(stream)) == NUM_INSTANTS
    assert not list((workplace / "predictions").rglob("*.partial*"))


def test_predict_writes_what_other_programs_read(workplace, tmp_path):
    """The truth, shifted by a centimetre, in each format."""
    job = dataclasses.replace(
        _predict_job(workplace), corpus_root=None, output=str(tmp_path), formats=("json", "coco", "trc", "bvh")
    )
    predictions = predict_pipeline.predict(job)
    (take,) = takes(workplace / "corpus")
    assert {kind: [Path(path).name for path in paths] for kind, paths in predictions.others.items()} == {
        "json": [f"{take.take_id}.json"],
        "coco": [f"{take.take_id}.json"],
        "trc": [f"{take.take_id}.trc"],
        "bvh": [f"{take.take_id}.bvh"],
    }
    truth = TruthfulEstimator.joints_world_mm + np.array([0.0, 0.0, 10.0])
    markers = read_trc(tmp_path / "trc" / f"{take.take_id}.trc").positions_m
    np.testing.assert_allclose(markers[..., (2, 0, 1)] * 1000, truth, atol=1e-2)
    record = json.loads((tmp_path / "json" / f"{take.take_id}.json").read_text())
    np.testing.assert_allclose([frame["joints_world_mm"] for frame in record["frames"]], truth, atol=1e-2)
    assert len(json.loads((tmp_path / "coco" / f"{take.take_id}.json").read_text())["images"]) == 3 * NUM_INSTANTS
    assert f"Frames: {NUM_INSTANTS}" in (tmp_path / "bvh" / f"{take.take_id}.bvh").read_text()
    rows = read_rows(tmp_path / "poses.parquet", schema=POSES, skeleton=H36M_18)
    camera = np.array(rows[0]["views"][0]["joints_camera_mm"])
    assert np.abs(camera[0]).max() == 0.0
    assert np.corrcoef(camera[:, 1], -truth[0, :, 2])[0, 1] > 0.99  # down is down


def test_predict_smooths_on_request(workplace, tmp_path):
    plain = dataclasses.replace(_predict_job(workplace), corpus_root=None, output=str(tmp_path / "plain"))
    found = {
        name: read_rows(Path(predict_pipeline.predict(job).poses), schema=POSES, skeleton=H36M_18)
        for name, job in {
            "plain": plain,
            "smooth": dataclasses.replace(
                plain, smoothing=OneEuro(min_cutoff_hz=0.01, beta=0.0), output=str(tmp_path / "smooth")
            ),
        }.items()
    }
    plain_mm, smooth_mm = (np.array([row["joints_world_mm"] for row in rows]) for rows in found.values())
    np.testing.assert_array_equal(smooth_mm[0], plain_mm[0])
    assert np.abs(np.diff(smooth_mm, axis=0)).max() < np.abs(np.diff(plain_mm, axis=0)).max() / 20


def test_predict_without_a_corpus_draws_nothing(workplace, tmp_path):
    job = dataclasses.replace(_predict_job(workplace), corpus_root=None, output=str(tmp_path))
    assert predict_pipeline.predict(job).overlays == ()
    assert [path.name for path in tmp_path.iterdir()] == ["poses.parquet"]


def test_predict_and_evaluate_with_everything_in_a_store(workplace, tmp_path, monkeypatch):
    """The same poses, figures and videos as on a disk; the checkpoint is fetched, and gone afterwards."""
    where, loaded = f"fsspec+memory://{uuid.uuid4()}", []
    for name in ("dataset", "corpus", "annotations"):
        upload(workplace / name, f"{where}/{name}")
    upload(save_fresh(tmp_path / "checkpoint", seed=0), f"{where}/checkpoint")

    def load(folder):
        loaded.append((folder, (folder / "model.pt").read_bytes()))
        return TruthfulEstimator.load(folder)

    for pipeline in (evaluate_pipeline, predict_pipeline):
        monkeypatch.setattr(pipeline, "FrameSetEstimator", SimpleNamespace(load=load))
    job = dataclasses.replace(
        _predict_job(workplace),
        checkpoint=f"{where}/checkpoint",
        manifest=f"{where}/dataset/manifest.json",
        corpus_root=f"{where}/corpus",
        output=f"{where}/predictions",
    )
    predictions = predict_pipeline.predict(job)
    assert predictions.poses == f"{where}/predictions/poses.parquet"
    with local_copy(location(f"{where}/predictions")) as there:
        found = read_rows(there / "poses.parquet", schema=POSES, skeleton=H36M_18)
        assert sorted(str(path.relative_to(there / "overlays")) for path in (there / "overlays").iterdir()) == sorted(
            overlay.rpartition("/")[2] for overlay in predictions.overlays
        )
        with av.open(str(there / "overlays" / predictions.overlays[0].rpartition("/")[2])) as container:
            assert sum(1 for _ in container.decode(video=0)) == NUM_INSTANTS
    evaluation = evaluate_pipeline.evaluate(
        dataclasses.replace(
            _evaluate_job(workplace), checkpoint=job.checkpoint, manifest=job.manifest, output=f"{where}/evaluation"
        )
    )
    assert evaluation.source.checkpoint == job.checkpoint
    assert "evaluation.json" in names_in(location(f"{where}/evaluation"))
    assert [weights for _, weights in loaded] == 2 * [(tmp_path / "checkpoint" / "model.pt").read_bytes()]
    assert not any(folder.exists() for folder, _ in loaded)
    on_disk = predict_pipeline.predict(
        dataclasses.replace(_predict_job(workplace), checkpoint=str(tmp_path / "checkpoint"))
    )
    assert found == read_rows(Path(on_disk.poses), schema=POSES, skeleton=H36M_18)
    with pytest.raises(ValueError, match=r"nothing: no checkpoint here"):
        predict_pipeline.predict(dataclasses.replace(job, checkpoint=f"{where}/nothing"))
    with pytest.raises(ValueError, match=r"checkpoint: .*no"):
        predict_pipeline.predict(dataclasses.replace(job, corpus_root=f"{where}/checkpoint"))


def test_predict_names_a_take_that_the_corpus_lacks(workplace, tmp_path):
    (tmp_path / "corpus" / "other").mkdir(parents=True)
    (tmp_path / "corpus" / "other" / "videos").symlink_to(next((workplace / "corpus").glob("*/videos")))
    job = dataclasses.replace(_predict_job(workplace), corpus_root=str(tmp_path / "corpus"), output=str(tmp_path))
    with pytest.raises(ValueError, match="corpus: has no take"):
        predict_pipeline.predict(job)


def test_report_gathers_run_evaluation_and_predictions(workplace):
    evaluate_pipeline.evaluate(_evaluate_job(workplace))
    predict_pipeline.predict(_predict_job(workplace))
    output = report_pipeline.report(
        ReportJob(
            run=str(workplace / "runs" / "dance"),
            manifest=str(workplace / "dataset" / "manifest.json"),
            output=str(workplace / "site" / "report.html"),
            evaluation=str(workplace / "evaluation"),
            predictions=str(workplace / "predictions"),
        )
    )
    page = output.read_text()
    assert "&lt;studio&gt;" in page
    assert "<studio>" not in page
    assert "come from the same clip" in page
    assert 'src="../predictions/overlays/' in page
    assert page.count("<img") == 3 * 3 * 5
    assert all(stage.name.replace("_", " ") in page or stage.name in page for stage in cpu_cascade().stages)


def test_report_of_an_unfinished_run_is_one_line(workplace, tmp_path):
    job = TrainJob(manifest="m", storage=str(tmp_path))
    (tmp_path / "job.json").write_text(codec.dumps(job))
    with pytest.raises(ValueError, match=r"cascade\.json: no finished cascade"):
        report_pipeline.report(
            ReportJob(
                run=str(tmp_path),
                manifest=str(workplace / "dataset" / "manifest.json"),
                output=str(tmp_path / "r.html"),
            )
        )
