from pathlib import Path

import cv2
import numpy as np
from mpi_inf_3dhp_files import CHEST_CAMERAS, chair_mask, viewpoints, walker_mask, walker_mm, write_subject

from mas_ray.annotations import read_reference
from mas_ray.config.ingest import CropConfig, FrameSampling, MaskQualityConfig, ProvidedMasks
from mas_ray.config.jobs import IngestJob
from mas_ray.pipelines.ingest import ingest
from mas_ray.shards.images import decode_mask
from mas_ray.shards.read import read_dataset


def test_rows_hold_the_walker_without_the_chair(ingested, tmp_path):
    write_subject(tmp_path / "corpus")
    job = IngestJob(
        root=str(tmp_path / "corpus"),
        output=str(tmp_path / "dataset"),
        annotations=str(tmp_path / "annotations"),
        corpus="mpi_inf_3dhp",
        masks=ProvidedMasks(),
        mask_quality=MaskQualityConfig(min_sharpness=0.0),  # flat colours
        crop=CropConfig(size_px=64),
        sampling=FrameSampling(stride=2),
    )
    manifest = ingest(job)
    assert manifest.rejects == ()
    rows = list(read_dataset(Path(job.output), manifest))
    assert [(row["take_id"], row["instant"]) for row in rows] == [
        (take, instant) for take in ("S7_Seq1", "S7_Seq2") for instant in (0, 2, 4)
    ]
    for row in rows:
        assert [view["name"] for view in row["views"]] == [f"video_{camera}" for camera in CHEST_CAMERAS]
        assert all(view["calibrated"] for view in row["views"])
        for camera, view in zip(CHEST_CAMERAS, row["views"], strict=True):
            # The walker's mask cut out by the row's own map is the row's mask.
            crop = np.array(view["crop_from_image"]).reshape(2, 3)
            drawn = walker_mask(viewpoints()[camera], row["instant"]) & ~chair_mask(viewpoints()[camera])
            expected = cv2.warpAffine(drawn.astype(np.uint8) * 255, crop, (64, 64)) >= 128
            mask = decode_mask(view["mask"], height=64, width=64)
            assert (mask & expected).sum() / (mask | expected).sum() > 0.85
    copied = read_reference(tmp_path / "annotations" / "S7_Seq1.parquet")
    np.testing.assert_allclose(copied.joints_world_mm[4, 0], walker_mm(4)[4], atol=0.02)
