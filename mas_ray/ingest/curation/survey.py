"""A first look at a single-view clip, before anything is masked: its shots, and the frames not worth masking."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from mas_ray.config.ingest import CurationConfig
from mas_ray.ingest.curation.frame_look import Repeats, cells, flashes, is_blank
from mas_ray.ingest.curation.movement import Movement, sampled_frames
from mas_ray.ingest.curation.shots import ShotFinder

SmallFrame = UInt8[np.ndarray, "rows columns 3"]


@dataclass(frozen=True, kw_only=True)
class ClipSurvey:
    """What the first look at a clip found."""

    shots: tuple[tuple[int, ...], ...]
    """The frames worth masking, shot by shot; shots with too few of them are left out."""
    reasons: dict[int, str]
    """Why each other frame is not: ``blank``, ``flash``, ``repeated`` or ``short_shot``."""
    movement: str
    """The clip's ``movement.Movement``, to recognise its copies by; empty if too little moves."""

    @property
    def verdict(self) -> str | None:
        """Why the whole clip must be left out, or None.

        Returns:
            ``blank`` or ``static`` if most of its frames are blank or repeat others, else ``too_few_frames``.
        """
        if self.shots:
            return None
        reasons = list(self.reasons.values())
        for reason, verdict in (("blank", "blank"), ("repeated", "static")):
            if 2 * reasons.count(reason) > len(reasons):
                return verdict
        return "too_few_frames"


def survey_clip(
    frames: Iterable[tuple[int, SmallFrame]], wanted: Iterable[int], *, num_frames: int, config: CurationConfig
) -> ClipSurvey:
    """Look at a clip's frames, scaled to about 160 px on the longer side; one is held at a time.

    Args:
        frames: Numbered frames in order, those that decode. Cuts are told the better the fewer are skipped.
        wanted: The frames that may become instants, in order.
        num_frames: Length of the clip.
        config: The thresholds.
    """
    shots, repeats = ShotFinder(config), Repeats(config)
    movement = Movement(sampled_frames(num_frames))
    may_be_kept = frozenset(wanted)
    numbers: list[int] = []
    brightness: list[float] = []
    reasons: dict[int, str] = {}
    for number, image in frames:
        shots.add(number, image)
        movement.add(number, image)
        picture = cells(image)
        numbers.append(number)
        brightness.append(float(picture.mean()))
        if number not in may_be_kept:
            continue
        if is_blank(picture, config):
            reasons[number] = "blank"
        elif repeats.is_repeated(picture):
            reasons[number] = "repeated"
    kept: list[tuple[int, ...]] = []
    for shot in shots.shots():
        of_shot = slice(bisect_left(numbers, shot.start), bisect_left(numbers, shot.stop))
        seen = numbers[of_shot]
        lit = flashes(np.array(brightness[of_shot], np.float32), config)
        reasons |= {number: "flash" for number, flash in zip(seen, lit, strict=True) if flash and number in may_be_kept}
        good = tuple(number for number in seen if number in may_be_kept and number not in reasons)
        if len(good) >= config.min_frames:
            kept.append(good)
        else:
            reasons |= dict.fromkeys(good, "short_shot")
    return ClipSurvey(shots=tuple(kept), reasons=reasons, movement=movement.text())
