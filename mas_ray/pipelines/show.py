"""show: what a dataset holds and what was left out, from its manifest, its rejects and its shards; no Ray, no torch."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float64

from mas_ray.reporting.contact_sheet import AcceptedSample, ContactSheet, render_contact_sheet
from mas_ray.reporting.overlay import draw_mask_outline
from mas_ray.shards.images import decode_image, decode_mask, encode_image
from mas_ray.shards.location import Location, open_parquet, read_lines
from mas_ray.shards.manifest import Manifest, RejectCount, read_manifest
from mas_ray.shards.reject_samples import choose_samples, read_reject_samples
from mas_ray.shards.schema import check_schema
from mas_ray.shards.splits import SplitSizes, split_sizes
from mas_ray.shards.write import write_text

_NUM_BINS = 8
_WITHOUT_PICTURES = ["views.list.element.name", "views.list.element.mask", "views.list.element.crop_from_image"]


@dataclass(frozen=True, kw_only=True)
class ClipRow:
    """What became of one take."""

    take_id: str
    frames: int
    """Instants looked at, as far as they were counted."""
    kept: int
    reason: str
    """The reason given most often for what was left out; empty if nothing was."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts between ``edges``, which are one more; a value on the last edge counts below it."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """What a dataset holds. Histograms are of every ``sampled_every``-th instant, in pixels of the source videos."""

    corpus: str
    takes_accepted: int
    takes_rejected: int
    instants: int
    views: int
    hours: float
    """Of source time, without gaps."""
    shards: int
    splits: SplitSizes
    rejects: tuple[RejectCount, ...]
    clips: tuple[ClipRow, ...]
    """From the worst to the best."""
    sampled_every: int
    mask_height_px: Histogram
    mask_area_px: Histogram
    column_px: Histogram
    """Of the middle of the person."""
    row_px: Histogram


def manifest_path(dataset: Location) -> Location:
    """The manifest of a dataset that is named by its folder or by the manifest itself."""
    return dataset / "manifest.json" if dataset.is_dir() else dataset


def summarise(dataset: Location, *, sample: int) -> DatasetSummary:
    """Look a dataset through; at most about ``sample`` instants are read for the histograms.

    Raises:
        ValueError: It is not a finished dataset, or a file of it is damaged; the message names it.
    """
    path = manifest_path(dataset)
    manifest = read_manifest(path)
    stride = max(1, -(-sum(shard.rows for shard in manifest.shards) // sample))
    clips = _clips(manifest, path.parent / "rejects.jsonl")
    boxes = np.array([_placed(view, manifest) for row in _sampled(path.parent, manifest, stride) for view in row])
    height, area, column, row = boxes.reshape(-1, 4).T
    return DatasetSummary(
        corpus=manifest.corpus,
        takes_accepted=len(manifest.takes),
        takes_rejected=len(clips) - len(manifest.takes),
        instants=manifest.statistics.num_instants,
        views=manifest.statistics.num_frames,
        hours=manifest.statistics.hours,
        shards=len(manifest.shards),
        splits=split_sizes(manifest),
        rejects=manifest.rejects,
        clips=clips,
        sampled_every=stride,
        mask_height_px=_histogram(height),
        mask_area_px=_histogram(area),
        column_px=_histogram(column),
        row_px=_histogram(row),
    )


def write_contact_sheet(dataset: Location, output: Path, *, num: int) -> None:
    """Write one HTML page with ``num`` accepted crops and as many rejected pictures per reason.

    Rejected pictures are those that ingest sampled into ``rejected.parquet``.

    Raises:
        ValueError: It is not a finished dataset, or a file of it is damaged; the message names it.
    """
    path = manifest_path(dataset)
    manifest = read_manifest(path)
    rejected = choose_samples(read_reject_samples(path.parent / "rejected.parquet"), per_reason=num)
    sheet = ContactSheet(manifest=manifest, accepted=tuple(_accepted(path.parent, manifest, num)), rejected=rejected)
    write_text(output, render_contact_sheet(sheet))


def _clips(manifest: Manifest, rejects: Location) -> tuple[ClipRow, ...]:
    """All takes, the worst first: by the share that was kept, then by id."""
    reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
    instants_lost: Counter[str] = Counter()
    for reject in _read_rejects(rejects):
        without_view = reject["instant"] is not None and reject["view"] is None
        instants_lost[reject["take_id"]] += without_view
        if reject["reason"] != "no_views":  # the views themselves have given their reasons
            reasons[reject["take_id"]][reject["reason"]] += 1
    kept = {take.take_id: take.num_instants for take in manifest.takes}
    clips = [
        ClipRow(
            take_id=take_id,
            frames=kept.get(take_id, 0) + instants_lost[take_id],
            kept=kept.get(take_id, 0),
            reason=_most_common(reasons[take_id]),
        )
        for take_id in {*kept, *reasons}
    ]
    return tuple(sorted(clips, key=lambda clip: (clip.kept / max(1, clip.frames), clip.kept, clip.take_id)))


def _most_common(reasons: Counter[str]) -> str:
    return min(reasons, key=lambda reason: (-reasons[reason], reason)) if reasons else ""


def _read_rejects(path: Location) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    for number, line in enumerate(read_lines(path), start=1):
        try:
            reject = json.loads(line)
            yield {key: reject[key] for key in ("take_id", "reason", "instant", "view")}
        except (json.JSONDecodeError, KeyError, TypeError):
            raise ValueError(
                f"{path}: line {number}: expected a reject with take_id, reason, instant and view"
            ) from None


def _sampled(folder: Location, manifest: Manifest, stride: int) -> Iterator[list[dict[str, Any]]]:
    """The views, without their pictures, of every ``stride``-th row."""
    for file, group, rows in _places(folder, manifest, stride):
        views = file.read_row_group(group, columns=_WITHOUT_PICTURES)["views"]
        yield from views.take(list(rows)).to_pylist()


def _places(folder: Location, manifest: Manifest, stride: int) -> Iterator[tuple[pq.ParquetFile, int, Sequence[int]]]:
    """Shard, row group and rows within it of every ``stride``-th row; a shard is open until the next is asked for."""
    start = 0
    for shard in manifest.shards:
        with _opened(folder / shard.path) as file:
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                rows = range(-start % stride, size, stride)
                if rows:
                    yield file, group, rows
                start += size


def _opened(path: Location) -> pq.ParquetFile:
    try:
        file = open_parquet(path)
    except (pa.ArrowInvalid, FileNotFoundError) as error:
        raise ValueError(f"{path}: not a readable shard: {error}") from None
    check_schema(file.schema_arrow, str(path))
    return file


def _placed(view: dict[str, Any], manifest: Manifest) -> Float64[np.ndarray, " 4"]:
    """Height, area, middle column and middle row of a view's mask in its source image."""
    size = manifest.parameters.crop.size_px
    mask = decode_mask(view["mask"], size, size)
    affine = np.array(view["crop_from_image"]).reshape(2, 3)
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    middle = np.array([columns[0] + columns[-1], rows[0] + rows[-1]]) / 2
    column, row = np.linalg.solve(affine[:, :2], middle - affine[:, 2])
    scale = float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
    return np.array([(rows[-1] - rows[0] + 1) / scale, mask.sum() / scale**2, column, row])


def _histogram(values: Float64[np.ndarray, " values"]) -> Histogram:
    if not values.size:
        return Histogram(edges=(), counts=())
    counts, edges = np.histogram(values, bins=_NUM_BINS)
    return Histogram(edges=tuple(edges.round(1).tolist()), counts=tuple(counts.tolist()))


def _accepted(folder: Location, manifest: Manifest, num: int) -> Iterator[AcceptedSample]:
    """At most ``num`` crops with their outlines, evenly spread over the dataset; of each instant one view, in turn."""
    stride = max(1, -(-sum(shard.rows for shard in manifest.shards) // num))
    index = 0
    for file, group, rows in _places(folder, manifest, stride):
        table = file.read_row_group(group)
        for row in table.take(list(rows)).to_pylist():
            view = row["views"][index % len(row["views"])]
            crop = decode_image(view["image"])
            outlined = encode_image(draw_mask_outline(crop, decode_mask(view["mask"], *crop.shape[:2])))
            yield AcceptedSample(take_id=row["take_id"], instant=row["instant"], view=view["name"], picture=outlined)
            index += 1
