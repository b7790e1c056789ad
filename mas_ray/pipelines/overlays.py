"""Overlay videos: the predicted skeleton and the mask drawn over each view of a take."""

from __future__ import annotations

import itertools
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mas_ray.config.ingest import DecodeLimits
from mas_ray.corpora import official
from mas_ray.corpora.remote import Listing, fetched
from mas_ray.corpora.take import Clip, Take
from mas_ray.ingest.decode import Image, open_clip
from mas_ray.pipelines.progress import Advance
from mas_ray.reporting.overlay import draw_caption, draw_mask_outline, draw_skeleton, fit_height, mask_in_image
from mas_ray.reporting.video import write_video
from mas_ray.shards.images import decode_mask
from mas_ray.shards.location import Location, location
from mas_ray.shards.manifest import Manifest
from mas_ray.shards.read import read_take
from mas_ray.skeleton import Skeleton

_MAX_HEIGHT_PX = 960


class Overlays:
    """Draws takes of a dataset over the corpus that it was made from."""

    def __init__(self, corpus_root: str, dataset: Location, manifest: Manifest, skeleton: Skeleton) -> None:
        """Find the takes; ``ValueError`` names one that the corpus lacks."""
        self._corpus_root = corpus_root
        self._dataset = dataset
        self._manifest = manifest
        self._skeleton = skeleton
        self._takes = _takes(location(corpus_root), manifest)

    def draw(self, rows: Sequence[Mapping[str, Any]], folder: Location, advance: Advance) -> Iterator[Location]:
        """The videos ``<take>-<view>.mp4`` of a take's rows (``reporting.poses``), each when it is written."""
        take_id = rows[0]["take_id"]
        keypoints = _keypoints(rows)
        masks = _masks(self._dataset, self._manifest, take_id)
        with _local(self._takes[take_id], self._corpus_root) as local:
            for clip in local.clips:
                if clip.view in keypoints:
                    path = folder / f"{take_id}-{clip.view}.mp4"
                    frames = _frames(clip, keypoints[clip.view], masks[clip.view], self._skeleton, advance)
                    if write_video(path, frames, _frames_per_s(clip, list(keypoints[clip.view]))):
                        yield path


@dataclass(frozen=True, kw_only=True, eq=False)
class _CropMask:
    """A mask as the dataset holds it."""

    packed: bytes
    size_px: int
    crop_from_image: tuple[float, ...]


def _takes(root: Location, manifest: Manifest) -> dict[str, Take]:
    """The takes of the dataset with their clips, in the dataset's order."""
    if isinstance(root, Path):
        listed = official.sources(official.kind_of(manifest.corpus), root)
    else:
        listed = Listing.of(root.filesystem, root.path).sources()
    found = {take.take_id: take for take in listed if isinstance(take, Take)}
    for take in manifest.takes:
        if take.take_id not in found:
            raise ValueError(f"{root}: has no take {take.take_id!r}, which the dataset was made from")
    return {take.take_id: found[take.take_id] for take in manifest.takes}


@contextmanager
def _local(take: Take, root: str | None) -> Generator[Take]:
    """A take whose clips are on this machine while the block runs."""
    corpus = location(root or "")
    if isinstance(corpus, Path):
        yield take
        return
    with (
        tempfile.TemporaryDirectory(prefix="mas-ray-") as scratch,
        fetched(corpus.filesystem, replace(take, reference=None), Path(scratch)) as local,
    ):
        yield local


def _keypoints(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, Any]]:
    """Keypoints by view and instant."""
    keypoints: dict[str, dict[int, Any]] = defaultdict(dict)
    for row in rows:
        for view in row["views"]:
            keypoints[view["name"]][row["instant"]] = view["keypoints_px"]
    return keypoints


def _masks(folder: Location, manifest: Manifest, take_id: str) -> dict[str, dict[int, _CropMask]]:
    """Masks of a take by view and instant, still packed."""
    masks: dict[str, dict[int, _CropMask]] = defaultdict(dict)
    size_px = manifest.parameters.crop.size_px
    for row in read_take(folder, manifest, take_id):
        for view in row["views"]:
            crop_from_image = tuple(view["crop_from_image"])
            masks[view["name"]][row["instant"]] = _CropMask(
                packed=view["mask"], size_px=size_px, crop_from_image=crop_from_image
            )
    return masks


def _frames(
    clip: Clip,
    keypoints: Mapping[int, Any],
    masks: Mapping[int, _CropMask],
    skeleton: Skeleton,
    advance: Advance,
) -> Iterator[Image]:
    """The predicted frames of a clip with everything drawn on them; frames that do not decode are left out."""
    with open_clip(clip, DecodeLimits()) as source:
        for instant, image in source.frames(sorted(keypoints)):
            advance(1)
            if image is None:
                continue
            held = masks[instant]
            crop_mask = decode_mask(held.packed, held.size_px, held.size_px)
            crop_from_image = np.array(held.crop_from_image).reshape(2, 3)
            mask = mask_in_image(crop_mask, crop_from_image, height=image.shape[0], width=image.shape[1])
            drawn = draw_skeleton(draw_mask_outline(image, mask), np.array(keypoints[instant]), skeleton)
            yield draw_caption(fit_height(drawn, _MAX_HEIGHT_PX), f"{clip.view}  frame {instant}")


def _frames_per_s(clip: Clip, instants: Sequence[int]) -> Fraction:
    """The rate at which the predicted frames follow each other in the source."""
    steps = [later - earlier for earlier, later in itertools.pairwise(instants)]
    with open_clip(clip, DecodeLimits()) as source:
        return source.info.frames_per_s / (statistics.mode(steps) if steps else 1)
