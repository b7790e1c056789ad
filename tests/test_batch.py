from dataclasses import replace

import numpy as np
import pytest
import torch

from mas_ray.annotations import read_reference
from mas_ray.batch import collate, geodesic_weight
from mas_ray.config.cascade import GeodesicConfig, cpu_cascade
from mas_ray.geometry.triangulation import per_view
from mas_ray.shards.manifest import read_manifest
from mas_ray.shards.read import read_split
from mas_ray.skeleton import H36M_18

VIEWS = {"s00": ("cam01", "cam02", "cam03", "cam04")}


def _rows(dataset):
    return list(read_split(dataset.manifest.parent, read_manifest(dataset.manifest), "train"))


def test_reference_joints_project_onto_the_mask(tiny_dataset):
    rows = _rows(tiny_dataset)
    batch = collate(rows, VIEWS, cpu_cascade())
    reference = read_reference(tiny_dataset.annotations / f"{rows[0]['take_id']}.parquet")
    joints = torch.from_numpy(reference.joints_world_mm[[row["instant"] for row in rows]]).float()
    keypoints = batch.camera.project(per_view(joints, 4))
    trunk = [H36M_18.index(name) for name in ("pelvis", "spine", "thorax", "neck")]
    seen = torch.nn.functional.grid_sample(
        batch.mask.flatten(0, 1)[:, None], keypoints[..., trunk, :].flatten(0, 1)[:, None], align_corners=False
    )
    assert seen.mean() > 0.95
    # and what the detector sees is lit exactly where the mask is
    lit = torch.nn.functional.interpolate((batch.image.sum(2) > 0.05).float(), size=batch.mask.shape[-2:])
    assert ((lit > 0.5) == (batch.mask > 0.5)).float().mean() > 0.97


def test_absent_views_are_zero_and_not_valid(tiny_dataset):
    row = _rows(tiny_dataset)[0]
    row["views"] = [view for view in row["views"] if view["name"] != "cam02"]
    batch = collate([row], VIEWS, cpu_cascade())
    assert batch.valid.tolist() == [[True, False, True, True]]
    assert batch.image[0, 1].abs().sum() == 0
    assert torch.isfinite(batch.camera.project(torch.zeros(1, 4, 1, 3))).all()


def test_a_view_of_another_name_is_an_error(tiny_dataset):
    with pytest.raises(ValueError, match="take s00: view 'cam01' is not among cam02, cam03"):
        collate(_rows(tiny_dataset)[:1], {"s00": ("cam02", "cam03")}, cpu_cascade())


def test_views_of_other_takes_share_the_axis(tiny_dataset):
    """A hundred single videos, each a view of its own name, are one view wide."""
    rows = _rows(tiny_dataset)[:3]
    for number, row in enumerate(rows):
        row["take_id"], row["views"] = f"clip{number}", row["views"][number : number + 1]
    batch = collate(rows, {row["take_id"]: (row["views"][0]["name"],) for row in rows}, cpu_cascade())
    assert batch.valid.tolist() == [[True]] * 3


def test_background_is_removed_only_on_request(tiny_dataset):
    rows, cascade = _rows(tiny_dataset)[:1], cpu_cascade()
    kept = replace(cascade, detector=replace(cascade.detector, background="kept"))
    outside = collate(rows, VIEWS, cascade).image[0, 0, :, 0, 0]
    assert outside.max() == 0
    assert collate(rows, VIEWS, kept).image.mean() > collate(rows, VIEWS, cascade).image.mean()


def test_geodesic_weights_have_the_documented_range():
    distances = np.zeros((2, 128, 128), np.float32)
    distances[0, 64], distances[1, :10] = np.linspace(0, 1, 128), 1.0
    raw = geodesic_weight(distances, 128, GeodesicConfig(normalise_mean=False))
    assert raw.min() == pytest.approx(3.0)
    assert raw.max() == pytest.approx(np.exp(2.0) + 2.0)
    assert raw[0, 0] == pytest.approx(4.0)
    assert geodesic_weight(distances, 64, GeodesicConfig()).mean() == pytest.approx(1.0, abs=1e-5)
