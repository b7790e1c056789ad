"""Poses on disk: ``poses.parquet`` as predict writes it, ``compared.parquet`` as evaluate writes it.

``poses.parquet`` has one row per instant:

==================  ===============================================================================
``take_id``         the take
``instant``         frame number in the source videos
``timestamp_s``     time in the source videos
``joints_world_mm`` joints x 3 in the world, triangulated; null with fewer than two calibrated views
``views``           list of: ``name``; ``keypoints_px`` (joints x 2, undistorted source image);
                    ``depth_mm`` (joints, relative to the root, along the optical axis);
                    ``confidence`` (joints, 0 to 1)
==================  ===============================================================================

``compared.parquet`` has ``take_id``, ``instant`` and, joints x 3, ``predicted_mm`` and ``reference_mm`` (NaN where
there is none). The names of the joints, in order, are in the files' metadata under ``joints``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mas_ray.shards.location import Location, publishing
from mas_ray.skeleton import Skeleton

_POINTS_3D = pa.list_(pa.list_(pa.float32(), 3))
_POINTS_2D = pa.list_(pa.list_(pa.float32(), 2))

POSES = pa.schema(
    [
        pa.field("take_id", pa.string(), nullable=False),
        pa.field("instant", pa.int64(), nullable=False),
        pa.field("timestamp_s", pa.float64(), nullable=False),
        pa.field("joints_world_mm", _POINTS_3D),
        pa.field(
            "views",
            pa.list_(
                pa.struct(
                    [
                        pa.field("name", pa.string(), nullable=False),
                        pa.field("keypoints_px", _POINTS_2D, nullable=False),
                        pa.field("depth_mm", pa.list_(pa.float32()), nullable=False),
                        pa.field("confidence", pa.list_(pa.float32()), nullable=False),
                    ]
                )
            ),
            nullable=False,
        ),
    ]
)
COMPARED = pa.schema(
    [
        pa.field("take_id", pa.string(), nullable=False),
        pa.field("instant", pa.int64(), nullable=False),
        pa.field("predicted_mm", _POINTS_3D, nullable=False),
        pa.field("reference_mm", _POINTS_3D, nullable=False),
    ]
)


def write_rows(path: Location, rows: Iterable[Mapping[str, Any]], *, schema: pa.Schema, skeleton: Skeleton) -> None:
    """Write rows of ``POSES`` or ``COMPARED``, whole or not at all."""
    named = schema.with_metadata({"joints": ",".join(skeleton.joints)})
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=named)
    with publishing(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read_rows(path: Path, *, schema: pa.Schema, skeleton: Skeleton) -> list[dict[str, Any]]:
    """Read rows of ``POSES`` or ``COMPARED`` back.

    Raises:
        ValueError: The file is missing, of another schema or of another skeleton; the message gives its path.
    """
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, FileNotFoundError) as error:
        raise ValueError(f"{path}: not a readable file of poses: {error}") from None
    joints = (table.schema.metadata or {}).get(b"joints", b"").decode()
    if not table.schema.equals(schema) or joints != ",".join(skeleton.joints):
        raise ValueError(f"{path}: expected columns {', '.join(schema.names)} of {skeleton.num_joints} joints")
    return table.to_pylist()
