"""Segment Anything on video: a person followed from mask to mask, and found again by another method when lost.

Each frame is prompted with the last mask, moved on as the person moves. Where there is no last mask, or the network's
answer is not the person's next mask, another method's mask (the seed) prompts the same encoded frame anew. So the
seed runs on few frames, and no frame goes through the image encoder twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import numpy as np

from mas_ray.config.ingest import SamMasks
from mas_ray.ingest.masks.method import PersonMask, ViewMasker
from mas_ray.ingest.masks.person import one_person
from mas_ray.ingest.masks.sam_prompts import (
    Candidates,
    EncodedImage,
    Image,
    Logits,
    Mask,
    Motion,
    PromptableModel,
    Prompts,
    moved_logits,
    moved_mask,
    prompts_from_mask,
)

Reason = Literal["start", "no_seed", "no_candidate", "score", "overlap", "area", "seed_overlap"]


@dataclass(frozen=True, kw_only=True)
class Lost:
    """There is no mask to go on from, and why; the next frame is seeded."""

    reason: Reason


@dataclass(frozen=True, kw_only=True, eq=False)
class Tracking:
    """The last accepted mask, from which the next frame's prompts are made.

    Attributes:
        mask: At the frame's resolution.
        logits: The same on the network's low-resolution grid.
        score: The IoU that the network predicts of it.
        motion_px: How far the person moved to it from the mask before.
        num_unchecked: Masks since the seed was last asked.
    """

    mask: Mask
    logits: Logits
    score: float
    motion_px: Motion = (0.0, 0.0)
    num_unchecked: int = 0


class SamMasker:
    """Masks one person through the frames of one shot; ``state`` says where it stands.

    A fresh object begins anew. The seed sees the frames it is asked about in order, with gaps between them.
    """

    def __init__(self, model: PromptableModel, seed: ViewMasker, config: SamMasks) -> None:
        self._model = model
        self._seed = seed
        self._config = config
        self.state: Tracking | Lost = Lost(reason="start")

    def __call__(self, image_rgb: Image, frame: int) -> PersonMask | None:
        """Mask one frame; None where neither the track nor the seed leads to a mask."""
        return self._advance(image_rgb, frame, self._model.encode([image_rgb])[0])

    def masks(self, frames: Iterable[tuple[int, Image | None]]) -> Iterator[PersonMask | None]:
        """Mask frames in order; None also for a frame without a picture, which the track outlives.

        Frames are read and encoded ``model.batch_size`` at a time: as many pictures are held, and no more are read
        than that before the first mask of a batch is given.
        """
        remaining = iter(frames)
        while batch := list(islice(remaining, self._model.batch_size)):
            images = [image for _, image in batch if image is not None]
            encoded = iter(self._model.encode(images) if images else ())
            for frame, image in batch:
                yield None if image is None else self._advance(image, frame, next(encoded))

    def _advance(self, image: Image, frame: int, encoded: EncodedImage) -> PersonMask | None:
        seed: PersonMask | None = None
        if isinstance(self.state, Tracking):
            self.state = self._followed(self.state, encoded)
            if isinstance(self.state, Tracking) and self.state.num_unchecked >= self._config.check_every:
                seed = self._seed(image, frame)
                self.state = self._checked(self.state, seed)
            if isinstance(self.state, Tracking):
                return _person(self.state, "tracked")
        seed = seed or self._seed(image, frame)
        self.state = Lost(reason="no_seed") if seed is None else self._seeded(seed.mask, encoded)
        return _person(self.state, "seeded") if isinstance(self.state, Tracking) else None

    def _followed(self, last: Tracking, encoded: EncodedImage) -> Tracking | Lost:
        """The track after a frame that its last mask prompts."""
        expected = moved_mask(last.mask, last.motion_px)
        if not expected.any():
            return Lost(reason="overlap")
        logits = moved_logits(last.logits, last.motion_px, frame_shape=expected.shape)
        found = choose(encoded.decode(self._prompts(expected, last.motion_px, logits)), expected)
        if found is None:
            return Lost(reason="no_candidate")
        change = float(found.mask.sum() / last.mask.sum())
        if found.score < self._config.min_score:
            return Lost(reason="score")
        if intersection_over_union(found.mask, expected) < self._config.min_overlap:
            return Lost(reason="overlap")
        if max(change, 1.0 / change) > self._config.max_area_change:
            return Lost(reason="area")
        return replace(found, motion_px=_motion(last.mask, found.mask), num_unchecked=last.num_unchecked + 1)

    def _checked(self, track: Tracking, seed: PersonMask | None) -> Tracking | Lost:
        """The track after the seed was asked: a seed that sees nobody does not speak against it."""
        if seed is not None and intersection_over_union(track.mask, seed.mask) < self._config.min_seed_overlap:
            return Lost(reason="seed_overlap")
        return replace(track, num_unchecked=0)

    def _seeded(self, seed: Mask, encoded: EncodedImage) -> Tracking | Lost:
        """The track that begins with a frame that the seed prompts."""
        if not seed.any():
            return Lost(reason="no_seed")
        found = choose(encoded.decode(self._prompts(seed)), seed)
        if found is None:
            return Lost(reason="no_candidate")
        if found.score < self._config.min_score:
            return Lost(reason="score")
        if intersection_over_union(found.mask, seed) < self._config.min_seed_overlap:
            return Lost(reason="seed_overlap")
        return found

    def _prompts(self, mask: Mask, motion_px: Motion = (0.0, 0.0), logits: Logits | None = None) -> Prompts:
        return prompts_from_mask(
            mask,
            num_positive=self._config.num_positive_points,
            num_negative=self._config.num_negative_points,
            motion_px=motion_px,
            logits=logits,
        )


def choose(candidates: Candidates, expected: Mask) -> Tracking | None:
    """The candidate of largest predicted IoU times overlap with the mask expected; None if none overlaps it."""
    overlaps = np.array([intersection_over_union(mask, expected) for mask in candidates.masks])
    agreement = np.clip(candidates.scores, 0.0, 1.0) * overlaps
    best = int(np.argmax(agreement))
    if agreement[best] <= 0:
        return None
    mask = one_person(candidates.masks[best], expected)
    if mask is None:
        return None
    return Tracking(mask=mask, logits=candidates.logits[best], score=float(min(candidates.scores[best], 1.0)))


def intersection_over_union(a: Mask, b: Mask) -> float:
    """0 for two empty masks."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0


def _person(track: Tracking, provenance: Literal["seeded", "tracked"]) -> PersonMask:
    return PersonMask(mask=track.mask, score=track.score, provenance=provenance)


def _motion(before: Mask, after: Mask) -> Motion:
    """From centroid to centroid."""
    (x0, y0), (x1, y1) = _centroid(before), _centroid(after)
    return x1 - x0, y1 - y0


def _centroid(mask: Mask) -> tuple[float, float]:
    columns, rows = mask.sum(axis=0), mask.sum(axis=1)
    x, y = columns @ np.arange(len(columns)), rows @ np.arange(len(rows))
    return float(x / columns.sum()), float(y / rows.sum())
