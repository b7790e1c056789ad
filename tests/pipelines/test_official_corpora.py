"""Recordings in the layouts of official releases become verified datasets that can be measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import human36m_files
import mpi_inf_3dhp_files
import pytest
import tiktok_files
import torch
from fresh_checkpoint import save_fresh

from mas_ray.annotations import read_reference
from mas_ray.config.ingest import (
    ChromaKeyMasks,
    CropConfig,
    FrameSampling,
    MaskQualityConfig,
    ProvidedMasks,
    SplitBySubject,
)
from mas_ray.config.jobs import EvaluateJob, IngestJob
from mas_ray.geometry.camera import Camera
from mas_ray.geometry.pixel_grid import ndc_from_pixel
from mas_ray.inference import FrameSetEstimator, PosePrediction
from mas_ray.pipelines import evaluate as evaluate_pipeline
from mas_ray.pipelines.ingest import ingest
from mas_ray.pipelines.verify import verify
from mas_ray.shards.read import read_take

CROP_PX = 96


@dataclass(frozen=True, kw_only=True)
class Official:
    """A corpus, how a small one is written, and what its dataset must hold."""

    write: Callable[[Path], object]
    job: IngestJob
    takes: tuple[str, ...]
    num_instants: int
    faulty: tuple[str, ...] = ()


CORPORA = {
    "human36m": Official(
        write=human36m_files.write_release,
        job=IngestJob(
            root="corpus",
            output="dataset",
            annotations="annotations",
            corpus="human36m",
            masks=ProvidedMasks(),
            crop=CropConfig(size_px=CROP_PX),
            split=SplitBySubject(validation=(), test=("S9", "S11")),
        ),
        takes=("S01_Directions_1", "S01_Walking_2", "S09_Greeting_2", "S11_Directions_2"),
        num_instants=human36m_files.NUM_FRAMES,
        faulty=("S09_Greeting_2",),
    ),
    "mpi_inf_3dhp": Official(
        write=mpi_inf_3dhp_files.write_release,
        job=IngestJob(
            root="corpus",
            output="dataset",
            annotations="annotations",
            corpus="mpi_inf_3dhp",
            masks=ProvidedMasks(),
            mask_quality=MaskQualityConfig(min_sharpness=0.0),  # flat colours
            crop=CropConfig(size_px=CROP_PX),
            split=SplitBySubject(validation=(), test=("S7",)),
        ),
        takes=("S6_Seq1", "S6_Seq2", "S7_Seq1", "S7_Seq2"),
        num_instants=mpi_inf_3dhp_files.NUM_FRAMES,
    ),
}
CORPORA["human36m_pictures"] = dataclasses.replace(
    CORPORA["human36m"],
    write=human36m_files.write_copy,
    job=dataclasses.replace(
        CORPORA["human36m"].job, masks=ChromaKeyMasks(), sampling=FrameSampling(stride=human36m_files.NUM_FRAMES - 1)
    ),
    num_instants=2,
)


@pytest.fixture(params=sorted(CORPORA))
def official(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus = CORPORA[request.param]
    corpus.write(tmp_path / "corpus")
    return corpus


class Annotated(FrameSetEstimator):
    """Predicts what the annotations say."""

    def predict(self, rows: Sequence[Mapping[str, Any]], view_slots: Mapping[str, tuple[str, ...]]) -> PosePrediction:
        takes = {row["take_id"]: read_reference(Path("annotations") / f"{row['take_id']}.parquet") for row in rows}
        joints = [takes[row["take_id"]] for row in rows]
        world = torch.stack(
            [
                torch.from_numpy(reference.joints_world_mm[list(reference.instants).index(row["instant"])])
                for reference, row in zip(joints, rows, strict=True)
            ]
        )
        num_views = max(len(row["views"]) for row in rows)
        keypoints = torch.full((len(rows), num_views, 18, 2), torch.nan, dtype=torch.float64)
        crop_px, depth = keypoints.clone(), keypoints[..., 0].clone()
        for n, row in enumerate(rows):
            for view in row["views"]:
                v = view_slots[row["take_id"]].index(view["name"])
                camera = Camera(
                    K=torch.tensor(view["K"]).double().reshape(3, 3),
                    R=torch.tensor(view["R"]).double().reshape(3, 3),
                    t_mm=torch.tensor(view["t_mm"]).double(),
                )
                keypoints[n, v] = camera.project(world[n])
                affine = torch.tensor(view["crop_from_image"]).double().reshape(2, 3)
                crop_px[n, v] = keypoints[n, v] @ affine[:, :2].T + affine[:, 2]
                in_camera = camera.camera_from_world(world[n])[:, 2]
                depth[n, v] = in_camera - in_camera[0]
        valid = keypoints.isfinite().all(-1).any(-1)
        return PosePrediction(
            take_id=tuple(row["take_id"] for row in rows),
            instant=tuple(row["instant"] for row in rows),
            timestamp_s=tuple(row["timestamp_s"] for row in rows),
            views=tuple(view_slots[row["take_id"]] for row in rows),
            keypoints_px=keypoints,
            keypoints_crop_ndc=ndc_from_pixel(crop_px, CROP_PX),
            depth_mm=depth,
            confidence=torch.ones(keypoints.shape[:-1]),
            valid=valid,
            joints_world_mm=world,
        )


def test_the_dataset_is_whole_and_what_equals_the_reference_has_no_error(official, ingested, tmp_path, monkeypatch):
    manifest = ingest(official.job)
    assert tuple(take.take_id for take in manifest.takes) == official.takes
    assert [take.num_instants for take in manifest.takes] == [official.num_instants] * len(official.takes)
    assert manifest.rejects == ()
    assert manifest.corpus == official.job.corpus
    assert verify(Path("dataset")).faults == ()
    assert ingest(official.job) == manifest

    monkeypatch.setattr(evaluate_pipeline, "FrameSetEstimator", Annotated)
    evaluation = evaluate_pipeline.evaluate(
        EvaluateJob(
            checkpoint=str(save_fresh(tmp_path / "checkpoint", seed=0)),
            manifest="dataset/manifest.json",
            annotations="annotations",
            output="evaluation",
        )
    )
    assert tuple(fault.take_id for fault in evaluation.source.faults) == official.faulty
    for accuracy in (*evaluation.accuracy, *evaluation.accuracy_without_faults):
        for errors in (accuracy.triangulated, accuracy.monocular):
            assert errors is not None
            assert max(errors.mpjpe_mm, errors.n_mpjpe_mm, errors.p_mpjpe_mm) < 5e-3
            assert errors.pck_150_percent == 100
        assert accuracy.keypoints is not None
        assert accuracy.keypoints.px < 1e-3
    assert evaluation.paper is not None
    assert evaluation.paper.under("raw").mpjpe_mm < 5e-3
    assert evaluation.paper.under("raw").percent_of_two_metres < 5e-4
    assert evaluation.paper.under("raw").pck_150_percent == 100


def test_an_official_release_is_no_plain_folder(official, tmp_path):
    with pytest.raises(ValueError, match="actions: no take is of Flying"):
        ingest(dataclasses.replace(official.job, actions=("Flying",)))
    assert not (tmp_path / "dataset" / "manifest.json").exists()
    with pytest.raises(ValueError, match="an official release is read from a disk"):
        ingest(dataclasses.replace(official.job, root="fsspec+memory://corpus"))


def test_some_actions_alone(official, ingested):
    wanted = official.takes[0].split("_")[1]
    job = dataclasses.replace(official.job, actions=(wanted,), split=SplitBySubject(validation=(), test=()))
    assert {take.action for take in ingest(job).takes} == {wanted}


def test_tiktok_is_single_views_without_a_reference(ingested, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiktok_files.write_release(tmp_path / "corpus")
    job = IngestJob(
        root="corpus",
        output="dataset",
        annotations="annotations",
        corpus="tiktok",
        actions=("00034", "00326"),
        masks=ProvidedMasks(),
        crop=CropConfig(size_px=CROP_PX),
        curation=None,
        split=SplitBySubject(validation=(), test=("00326",)),
    )
    manifest = ingest(job)
    assert [(take.take_id, take.views) for take in manifest.takes] == [("00034", ("image",)), ("00326", ("image",))]
    assert manifest.rejects == ()
    assert verify(Path("dataset")).faults == ()
    rows = list(read_take(Path("dataset"), manifest, "00034"))
    skipped = tiktok_files.NUM_SKIPPED
    assert [row["instant"] for row in rows] == list(range(skipped, tiktok_files.NUM_FRAMES - skipped))
    assert not any(view["calibrated"] for row in rows for view in row["views"])
    assert not Path("annotations").exists()


def test_masks_that_a_release_was_handed_out_without_are_missed_at_once(ingested, tmp_path):
    tiktok_files.write_release(tmp_path / "corpus", sequences=("00034",), masks=False)
    job = IngestJob(
        root=str(tmp_path / "corpus"), output=str(tmp_path / "dataset"), corpus="tiktok", masks=ProvidedMasks()
    )
    with pytest.raises(ValueError, match=r"^masks: 1 takes of .* provide none, such as 00034; choose another method"):
        ingest(job)
    assert ingested == []
