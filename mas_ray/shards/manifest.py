"""The manifest of a dataset: what is in it, where, and what was left out. Written last: it *is* done."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mas_ray.config import codec
from mas_ray.config.ingest import CropConfig, FrameSampling, MaskConfig, MaskQualityConfig, SplitConfig
from mas_ray.shards.write import write_text

FORMAT = "mas-ray dataset 1"
DISTANCE_MAP_SIZE = 128
SplitName = Literal["train", "validation", "test"]


@dataclass(frozen=True, kw_only=True)
class IngestParameters:
    """Everything that shapes the rows. Equal parameters on an equal corpus give equal bytes."""

    masks: MaskConfig
    mask_quality: MaskQualityConfig
    crop: CropConfig
    sampling: FrameSampling


@dataclass(frozen=True, kw_only=True)
class TakeEntry:
    """What the dataset holds of one take."""

    take_id: str
    subject: str
    action: str
    views: tuple[str, ...]
    num_instants: int
    rows_sha256: str = ""
    """Of the file of its rows alone, as ingest committed it."""


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """One Parquet file of frame sets; ``path`` is relative to the manifest."""

    path: str
    rows: int
    sha256: str
    takes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class InstantRange:
    """The instants ``start <= instant < stop`` of a take."""

    take_id: str
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The three splits; an instant in none of them is not used."""

    train: tuple[InstantRange, ...]
    validation: tuple[InstantRange, ...]
    test: tuple[InstantRange, ...]

    def ranges(self, split: SplitName) -> tuple[InstantRange, ...]:
        """The ranges of a split."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]


@dataclass(frozen=True, kw_only=True)
class RejectCount:
    """How many takes, instants or views were left out for one reason."""

    reason: str
    level: Literal["take", "instant", "view"]
    count: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A finished dataset. Holds no times, durations or absolute paths: equal input gives equal bytes."""

    format: str
    schema_version: int
    code_version: str
    corpus: str
    parameters: IngestParameters
    split_config: SplitConfig
    takes: tuple[TakeEntry, ...]
    shards: tuple[ShardEntry, ...]
    splits: Splits
    rejects: tuple[RejectCount, ...]

    @property
    def view_slots(self) -> dict[str, tuple[str, ...]]:
        """The views of each take in the order of the views axis. Views of different takes share its places."""
        return {take.take_id: take.views for take in self.takes}


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write the manifest, whole or not at all."""
    write_text(path, codec.dumps(manifest))


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ValueError: There is none, or it is of another format; the message names the file and the field.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such manifest; the dataset is not (or not completely) ingested")
    manifest = codec.loads(Manifest, path.read_text(), str(path))
    if manifest.format != FORMAT:
        raise ValueError(f"{path}: format {manifest.format!r}, expected {FORMAT!r}")
    return manifest


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damaged_shards(folder: Path, manifest: Manifest) -> tuple[ShardEntry, ...]:
    """The shards that are missing or whose bytes are not those of the manifest."""
    return tuple(
        shard
        for shard in manifest.shards
        if not (folder / shard.path).is_file() or file_sha256(folder / shard.path) != shard.sha256
    )
