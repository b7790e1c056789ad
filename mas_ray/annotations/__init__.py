"""Reference joints in files of their own, outside any dataset: ingest copies them, evaluation reads them.

Nothing that trains may import this module; an import contract sees to it.
One Parquet file per take: ``instant`` (frame number in the source videos), ``joints_world_mm`` (joints x 3),
``valid`` (joints). Joints are in the order of ``skeleton.H36M_18``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float64, Int64

from mas_ray.skeleton import H36M_18

SCHEMA = pa.schema(
    [
        ("instant", pa.int64()),
        ("joints_world_mm", pa.list_(pa.list_(pa.float64(), 3))),
        ("valid", pa.list_(pa.bool_())),
    ],
    metadata={"joints": ",".join(H36M_18.joints)},
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceJoints:
    """Joints of one take in world millimetres, with the frames they belong to.

    ``source`` states where they come from in the words a report may use, e.g. "triangulated OpenPose"; ``fault``, what
    is known to be wrong with them as a whole, e.g. "the pelvis drifts", or nothing.
    """

    instants: Int64[np.ndarray, " frames"]
    joints_world_mm: Float64[np.ndarray, "frames joints 3"]
    valid: Bool[np.ndarray, "frames joints"]
    source: str
    fault: str = ""


def write_reference(path: Path, reference: ReferenceJoints) -> None:
    """Write a take's reference joints, whole or not at all."""
    table = pa.table(
        {
            "instant": reference.instants,
            "joints_world_mm": reference.joints_world_mm.tolist(),
            "valid": reference.valid.tolist(),
        },
        schema=SCHEMA.with_metadata({**(SCHEMA.metadata or {}), **_told(reference)}),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    pq.write_table(table, partial)
    partial.replace(path)


def read_reference(path: Path) -> ReferenceJoints:
    """Read a take's reference joints.

    Raises:
        ValueError: The file is not a reference file or names other joints; the message gives its path.
    """
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, FileNotFoundError) as error:
        raise ValueError(f"{path}: not a readable reference file: {error}") from None
    metadata = table.schema.metadata or {}
    if not table.schema.equals(SCHEMA) or metadata.get(b"joints", b"").decode() != ",".join(H36M_18.joints):
        raise ValueError(f"{path}: expected columns {SCHEMA.names} of the {H36M_18.num_joints} H36M_18 joints")
    return ReferenceJoints(
        instants=table["instant"].to_numpy().astype(np.int64),
        joints_world_mm=np.array(table["joints_world_mm"].to_pylist(), dtype=np.float64).reshape(
            -1, H36M_18.num_joints, 3
        ),
        valid=np.array(table["valid"].to_pylist(), dtype=bool).reshape(-1, H36M_18.num_joints),
        source=metadata.get(b"source", b"unknown").decode(),
        fault=metadata.get(b"fault", b"").decode(),
    )


def _told(reference: ReferenceJoints) -> dict[bytes, bytes]:
    fault = {b"fault": reference.fault.encode()} if reference.fault else {}
    return {b"source": reference.source.encode(), **fault}
