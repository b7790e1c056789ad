"""Thumbnails of a few rejected pictures, for a person to judge: ``rejected.parquet`` of a take, and of a dataset."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, UInt8

from mas_ray.shards.location import Location, open_parquet, publishing

REJECT_SAMPLE = pa.schema(
    [
        pa.field("take_id", pa.string(), nullable=False),
        pa.field("instant", pa.int64()),  # null: the picture stands for the whole take
        pa.field("view", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("thumbnail", pa.binary(), nullable=False),  # JPEG, with the mask's outline if there was a mask
    ]
)
THUMBNAIL_PX = 224
_OUTLINE_RGB = (255, 90, 70)
_JPEG_QUALITY = 80


@dataclass(frozen=True, kw_only=True)
class RejectSample:
    """A rejected picture; ``instant`` and ``view`` are None where the reason is one of the whole take."""

    take_id: str
    reason: str
    thumbnail: bytes
    instant: int | None = None
    view: str | None = None


class RejectSampler:
    """Keeps the thumbnails of a take's rejected pictures, a few per reason, whichever order they come in."""

    def __init__(self, take_id: str, *, per_reason: int) -> None:
        self._take_id, self._per_reason = take_id, per_reason
        self._kept: defaultdict[str, list[tuple[str, RejectSample]]] = defaultdict(list)

    def add(
        self,
        reason: str,
        image_rgb: UInt8[np.ndarray, "height width 3"],
        *,
        mask: Bool[np.ndarray, "height width"] | None = None,
        instant: int | None = None,
        view: str | None = None,
    ) -> None:
        """Offer a picture; a thumbnail is made only if it is to be kept."""
        kept = self._kept[reason]
        rank = _rank(self._take_id, instant, view)
        if len(kept) == self._per_reason and rank >= kept[-1][0]:
            return
        picture = thumbnail(image_rgb, mask)
        sample = RejectSample(take_id=self._take_id, reason=reason, thumbnail=picture, instant=instant, view=view)
        kept.append((rank, sample))
        kept.sort(key=lambda ranked: ranked[0])
        del kept[self._per_reason :]

    def samples(self) -> list[RejectSample]:
        """What was kept, by reason."""
        return [sample for reason in sorted(self._kept) for _, sample in self._kept[reason]]


def choose_samples(samples: Iterable[RejectSample], *, per_reason: int) -> list[RejectSample]:
    """At most so many of each reason, whichever order they come in; holds no more than those."""
    chosen: defaultdict[str, list[RejectSample]] = defaultdict(list)
    for sample in samples:
        of_reason = chosen[sample.reason]
        of_reason.append(sample)
        if len(of_reason) > 2 * per_reason:
            chosen[sample.reason] = sorted(of_reason, key=_sample_rank)[:per_reason]
    return [sample for reason in sorted(chosen) for sample in sorted(chosen[reason], key=_sample_rank)[:per_reason]]


def write_reject_samples(path: Location, samples: Iterable[RejectSample]) -> None:
    """Write samples in the order given, whole or not at all; equal samples give equal bytes."""
    table = pa.Table.from_pylist([asdict(sample) for sample in samples], schema=REJECT_SAMPLE)
    with publishing(path) as partial:
        pq.write_table(table, partial, compression="none")


def read_reject_samples(path: Location) -> Iterator[RejectSample]:
    """The samples of a file in order, a row group at a time; none where there is no file.

    Raises:
        ValueError: The file is not one of samples; the message names it.
    """
    if not path.is_file():
        return
    try:
        with open_parquet(path) as file:
            if not file.schema_arrow.equals(REJECT_SAMPLE):
                raise ValueError(f"{path}: columns differ from those of rejected samples; ingest the corpus again")
            for group in range(file.num_row_groups):
                for row in file.read_row_group(group).to_pylist():
                    yield RejectSample(**row)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a readable file of rejected samples: {error}") from None


def thumbnail(
    image_rgb: UInt8[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"] | None = None
) -> bytes:
    """The whole picture at ``THUMBNAIL_PX`` on its longer side as JPEG, with the outline of the mask."""
    scale = min(1.0, THUMBNAIL_PX / max(image_rgb.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in image_rgb.shape[:2])
    small = cv2.resize(image_rgb, (width, height), interpolation=cv2.INTER_AREA)
    if mask is not None:
        covered = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) >= 0.5
        contours, _ = cv2.findContours(covered.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(small, contours, -1, _OUTLINE_RGB, 1, cv2.LINE_AA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()


def _sample_rank(sample: RejectSample) -> str:
    return _rank(sample.take_id, sample.instant, sample.view)


def _rank(take_id: str, instant: int | None, view: str | None) -> str:
    """A fixed order that looks like chance, so that samples are not neighbours."""
    return hashlib.sha256(repr((take_id, instant, view)).encode()).hexdigest()
