"""Poses on disk: ``poses.parquet`` as predict writes it, ``compared.parquet`` as evaluate writes it.

``poses.parquet`` has one row per instant:

==================  ===============================================================================
``take_id``         the take
``instant``         frame number in the source videos
``timestamp_s``     time in the source videos
``joints_world_mm`` joints x 3 in the world, triangulated; null with fewer than two calibrated views
``views``           list of: ``name``; ``keypoints_px`` (joints x 2, undistorted source image);
                    ``depth_mm`` (joints, relative to the root, along the optical axis);
                    ``confidence`` (joints, 0 to 1); ``joints_camera_mm`` (joints x 3, about the root, x right,
                    y down, z away, as large as a person of 1.7 m; null where no scale explains the view)
==================  ===============================================================================

``compared.parquet`` has ``take_id``, ``instant`` and, joints x 3, ``predicted_mm`` and ``reference_mm`` (NaN where
there is none). The names of the joints, in order, are in the files' metadata under ``joints``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mas_ray.shards.location import Location, open_parquet, publishing
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
                        pa.field("joints_camera_mm", _POINTS_3D),
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


Rows = Iterable[Mapping[str, Any]]


def write_rows(path: Location, rows: Rows, *, schema: pa.Schema, skeleton: Skeleton) -> None:
    """Write rows of ``POSES`` or ``COMPARED``, whole or not at all."""
    with writing_rows(path, schema=schema, skeleton=skeleton) as write:
        write(rows)


@contextmanager
def writing_rows(path: Location, *, schema: pa.Schema, skeleton: Skeleton) -> Generator[Callable[[Rows], None]]:
    """A function that writes rows part by part; the file is there, whole, when the block has ended."""
    named = schema.with_metadata({"joints": ",".join(skeleton.joints)})
    with publishing(path) as partial, pq.ParquetWriter(partial, named, compression="zstd") as file:

        def write(rows: Rows) -> None:
            if part := [dict(row) for row in rows]:
                file.write_table(pa.Table.from_pylist(part, schema=named))

        yield write


def read_parts(path: Location) -> Iterator[list[dict[str, Any]]]:
    """The rows of a file in the parts in which they were written."""
    with open_parquet(path) as file:
        for part in range(file.num_row_groups):
            yield file.read_row_group(part).to_pylist()


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
