"""The schema of a dataset row: one row is one instant with all its views (a frame set)."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 2

VIEW = pa.struct(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("image", pa.binary(), nullable=False),  # JPEG of the square crop, RGB
        pa.field("mask", pa.binary(), nullable=False),  # same size as the image: packed bits, zstd
        pa.field("geodesic_distance", pa.binary(), nullable=False),  # two uint8 planes, zstd
        pa.field("mask_source", pa.string(), nullable=False),  # the mask method, and its way where it has several
        pa.field("mask_score", pa.float32(), nullable=False),  # its own confidence in [0, 1]
        pa.field("crop_from_image", pa.list_(pa.float64(), 6), nullable=False),  # 2x3 affine on pixel centres
        pa.field("calibrated", pa.bool_(), nullable=False),
        pa.field("K", pa.list_(pa.float64(), 9), nullable=False),  # of the undistorted image; zeros if not
        pa.field("R", pa.list_(pa.float64(), 9), nullable=False),  # calibrated, like R and t_mm
        pa.field("t_mm", pa.list_(pa.float64(), 3), nullable=False),
    ]
)

FRAME_SET = pa.schema(
    [
        pa.field("take_id", pa.string(), nullable=False),
        pa.field("instant", pa.int64(), nullable=False),  # frame number in the source videos
        pa.field("shot", pa.int32(), nullable=False),  # number of the uncut piece of its take
        pa.field("timestamp_s", pa.float64(), nullable=False),
        pa.field("views", pa.list_(VIEW), nullable=False),
    ],
    metadata={"mas_ray_schema": str(SCHEMA_VERSION)},
)


def check_schema(schema: pa.Schema, where: str) -> None:
    """Raise ``ValueError`` naming ``where`` unless a file holds frame sets of this schema version."""
    version = (schema.metadata or {}).get(b"mas_ray_schema", b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise ValueError(f"{where}: schema version {version}, expected {SCHEMA_VERSION}; ingest the corpus again")
    if not schema.equals(FRAME_SET):
        raise ValueError(f"{where}: columns differ from the frame set schema; ingest the corpus again")
