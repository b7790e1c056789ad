from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from mas_ray.reporting.poses import COMPARED, POSES, read_parts, read_rows, write_rows, writing_rows
from mas_ray.skeleton import H36M_18

ROW = {
    "take_id": "dance",
    "instant": 7,
    "timestamp_s": 0.28,
    "joints_world_mm": [[1.0, 2.0, 3.0]] * 18,
    "views": [
        {
            "name": "cam1",
            "keypoints_px": [[4.0, 5.0]] * 18,
            "depth_mm": [6.0] * 18,
            "confidence": [0.5] * 18,
            "joints_camera_mm": [[1.0, 2.0, 3.0]] * 18,
        },
    ],
}


def test_poses_survive_their_file_with_and_without_triangulation(tmp_path):
    rows = [ROW, ROW | {"instant": 8, "joints_world_mm": None}]
    path = tmp_path / "out" / "poses.parquet"
    write_rows(path, rows, schema=POSES, skeleton=H36M_18)
    assert read_rows(path, schema=POSES, skeleton=H36M_18) == rows
    assert pq.read_schema(path).metadata[b"joints"].decode().split(",") == list(H36M_18.joints)
    assert [p.name for p in path.parent.iterdir()] == ["poses.parquet"]


def test_a_file_is_read_in_the_parts_in_which_it_was_written(tmp_path):
    parts = [[ROW], [ROW | {"take_id": "walk", "instant": n} for n in range(3)]]
    with writing_rows(tmp_path / "poses.parquet", schema=POSES, skeleton=H36M_18) as write:
        for part in (parts[0], [], parts[1]):
            write(part)
        assert not (tmp_path / "poses.parquet").exists()
    assert list(read_parts(tmp_path / "poses.parquet")) == parts


def test_a_file_of_something_else_is_named(tmp_path):
    path = tmp_path / "poses.parquet"
    with pytest.raises(ValueError, match=r"poses\.parquet: not a readable file of poses"):
        read_rows(path, schema=POSES, skeleton=H36M_18)
    write_rows(path, [ROW], schema=POSES, skeleton=H36M_18)
    with pytest.raises(ValueError, match=r"poses\.parquet: expected columns take_id, instant, predicted_mm"):
        read_rows(path, schema=COMPARED, skeleton=H36M_18)
