import json

import numpy as np
import pyarrow as pa
import pytest

from mas_ray.config.ingest import CropConfig, MaskQualityConfig
from mas_ray.corpora.take import Calibration, Clip
from mas_ray.ingest.masks.method import PersonMask
from mas_ray.ingest.rejects import Reject, count_rejects
from mas_ray.ingest.rows import frame_set_row, view_row
from mas_ray.shards.images import decode_distances, decode_image, decode_mask
from mas_ray.shards.manifest import DISTANCE_MAP_SIZE
from mas_ray.shards.schema import FRAME_SET

IMAGE = np.random.default_rng(0).integers(0, 255, (80, 100, 3), np.uint8)


def person(height=50):
    mask = np.zeros((80, 100), bool)
    mask[10 : 10 + height, 40:60] = True
    return PersonMask(mask=mask, score=0.75)


def row_of(clip, found):
    return view_row(
        clip, IMAGE, person=found, mask_source="SelfieMasks", mask_quality=MaskQualityConfig(), crop=CropConfig()
    )


@pytest.fixture
def calibration():
    return Calibration(
        width_px=100,
        height_px=80,
        K=np.array([[90.0, 0.0, 50.0], [0.0, 90.0, 40.0], [0.0, 0.0, 1.0]]),
        distortion=np.zeros(4),
        R=np.eye(3)[[1, 2, 0]],
        t_mm=np.array([1.0, 2.0, 3.0]),
    )


def test_view_fits_the_schema_and_decodes(calibration):
    view = row_of(Clip(view="cam", video="", calibration=calibration), person())
    row = frame_set_row("take", 3, shot=0, timestamp_s=0.12, views=[view])
    (back,) = pa.Table.from_pylist([row], schema=FRAME_SET).to_pylist()
    assert back == row
    image = decode_image(view["image"])
    mask = decode_mask(view["mask"], 256, 256)
    distances = decode_distances(view["geodesic_distance"], DISTANCE_MAP_SIZE)
    assert image.shape == (256, 256, 3)
    assert abs(mask.sum() / 256**2 - (20 * 50) / 60**2) < 0.02  # a 60 px square around 20 x 50 px
    assert distances[0].max() == distances[1].max() == 1
    np.testing.assert_array_equal(np.reshape(view["K"], (3, 3)), calibration.K)
    np.testing.assert_array_equal(np.reshape(view["R"], (3, 3)), calibration.R)
    assert view["t_mm"] == [1.0, 2.0, 3.0]
    assert (view["name"], view["mask_source"], view["mask_score"]) == ("cam", "SelfieMasks", 0.75)
    u = np.reshape(view["crop_from_image"], (2, 3)) @ (49.5, 34.5, 1)  # the box's centre
    np.testing.assert_allclose(u, 127.5)


def test_uncalibrated_views_say_so():
    view = row_of(Clip(view="cam", video=""), person())
    assert not view["calibrated"]
    assert not any(view["K"] + view["R"] + view["t_mm"])


def test_bad_masks_give_reasons():
    clip = Clip(view="cam", video="")
    assert row_of(clip, None) == "no_person"
    small = row_of(clip, person(height=10))
    assert isinstance(small, str)
    assert small != "no_person"


def test_counts_are_per_level_and_reason():
    rejects = [
        Reject(take_id="b", reason="undecodable", instant=1, view="cam"),
        Reject(take_id="a", reason="crashed"),
        Reject(take_id="b", reason="undecodable", instant=2, view="cam"),
        Reject(take_id="b", reason="no_views", instant=2),
    ]
    counts = [(item.level, item.reason, item.count) for item in count_rejects(rejects)]
    assert counts == [("instant", "no_views", 1), ("take", "crashed", 1), ("view", "undecodable", 2)]
    assert json.dumps(counts)
