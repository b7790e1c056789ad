"""The manifest of a dataset: what is in it, where, and what was left out. Written last: it *is* done."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from mas_ray.config import codec
from mas_ray.config.ingest import CropConfig, CurationConfig, FrameSampling, MaskConfig, MaskQualityConfig, SplitConfig
from mas_ray.shards.location import Location, names_in
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
    curation: CurationConfig | None = None


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
    num_frames: int = 0
    """Views of all instants together."""
    seconds: float = 0.0
    """Source time that its instants cover: their number times the usual step from one to the next."""


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """One Parquet file of frame sets; ``path`` is relative to the manifest.

    It holds the rows of its takes one take after the other. A take may go on in the next shard that names it.
    """

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
class Statistics:
    """How much a dataset holds. ``num_frames`` counts the views of all instants; ``hours`` are of source time."""

    num_takes: int = 0
    num_instants: int = 0
    num_frames: int = 0
    hours: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A finished dataset. Holds no times or absolute paths: equal input, version by version, gives equal bytes."""

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
    version: int = 1
    """Counts the contents that the folder has held; ``manifest-<version>.json`` are the earlier ones."""
    key: str = ""
    """Of the parameters, schema, code and mask model that the rows were made with; names the work tree."""
    mask_model_sha256: str | None = None
    """Of the mask method's network, where the parameters do not say."""
    rows_sha256: str = ""
    """``digest_rows`` of the takes: equal for equal rows, however they are laid out in shards."""
    statistics: Statistics = Statistics()

    @property
    def view_slots(self) -> dict[str, tuple[str, ...]]:
        """The views of each take in the order of the views axis. Views of different takes share its places."""
        return {take.take_id: take.views for take in self.takes}


def write_manifest(path: Location, manifest: Manifest) -> None:
    """Write the manifest, whole or not at all."""
    write_text(path, codec.dumps(manifest))


def read_manifest(path: Location) -> Manifest:
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


def earlier_manifests(folder: Location) -> dict[int, Location]:
    """The manifests of the earlier versions of a dataset that are still there, by version, in order."""
    found = ((re.fullmatch(r"manifest-([1-9][0-9]*)\.json", name), name) for name in names_in(folder))
    return {version: folder / name for version, name in sorted((int(match[1]), name) for match, name in found if match)}


def earlier_manifest_path(folder: Location, version: int) -> Location:
    """Where a version's manifest goes when the next one takes its place. Shards are relative to it as before."""
    return folder / f"manifest-{version}.json"


def digest_rows(takes: Iterable[TakeEntry]) -> str:
    """One line to compare the rows of two datasets by; the order of the takes does not count."""
    lines = sorted(f"{take.take_id} {take.rows_sha256}\n" for take in takes)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def sum_statistics(takes: Iterable[TakeEntry]) -> Statistics:
    """What the takes hold together."""
    takes = tuple(takes)
    return Statistics(
        num_takes=len(takes),
        num_instants=sum(take.num_instants for take in takes),
        num_frames=sum(take.num_frames for take in takes),
        hours=math.fsum(take.seconds for take in takes) / 3600,
    )


def file_sha256(path: Location) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damaged_shards(
    folder: Location, manifest: Manifest, sha256: Callable[[Location], str] = file_sha256
) -> tuple[ShardEntry, ...]:
    """The shards that are missing or whose bytes are not those of the manifest.

    ``sha256`` gives a file's digest; one that remembers spares reading what has not changed.
    """
    return tuple(
        shard
        for shard in manifest.shards
        if not (folder / shard.path).is_file() or sha256(folder / shard.path) != shard.sha256
    )
