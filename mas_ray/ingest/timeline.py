"""Which number a video's frames have, and when they are shown, from the time stamps of its packets alone."""

# Imported by the decoder process, whose start is paid for every clip: numpy and the standard library only.

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import accumulate

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Timeline:
    """The frames of a video in order of presentation.

    Attributes:
        segments: Presentation times, ascending, in the stream's time base, of each stretch of the video whose clock
            runs on; recordings that were put behind one another without mending their clocks have several. Empty if
            packets lack presentation times (AVI): then nothing is left but counting.
        num_packets: How many frames the file holds.
    """

    segments: tuple[np.ndarray, ...]
    num_packets: int

    def number_after(self, last: int, pts: int | None) -> int:
        """The number of the frame that is decoded after the frame ``last`` (-1: the first) and carries ``pts``.

        It is ``last`` itself for a frame whose time stamp comes too late or is not of this timeline.
        """
        if not self.segments:
            return last + 1
        if pts is None:
            return last
        first = max(0, bisect_right(self._starts, last) - 1)
        for start, segment in zip(self._starts[first:], self.segments[first:], strict=False):
            position = max(bisect_left(segment, pts), last + 1 - start)
            if position < len(segment) and segment[position] == pts:
                return start + position
        return last

    @cached_property
    def _starts(self) -> list[int]:
        """The number of the first frame of each segment; one more ends the last."""
        return [0, *accumulate(len(segment) for segment in self.segments)]

    def average_rate(self, time_base: Fraction) -> Fraction | None:
        """Frames per second of presentation in the longest segment; None where time does not pass."""
        longest = max(self.segments, key=len, default=np.zeros(1, np.int64))
        duration = time_base * int(longest[-1] - longest[0])
        return (len(longest) - 1) / duration if duration else None

    def times_s(self, num_frames: int, *, time_base: Fraction, frames_per_s: Fraction) -> np.ndarray:
        """When each of ``num_frames`` frames is shown, in seconds after the first; never descending.

        Frames that only the header knows follow at the average rate, as do those of a segment in which time stands
        still, and each segment the one before.
        """
        step_s = float(1 / frames_per_s)
        known: list[np.ndarray] = [np.zeros(0)]
        end_s = 0.0
        for segment in self.segments:
            stands = segment[0] == segment[-1]
            since_s = np.arange(len(segment)) * step_s if stands else (segment - segment[0]) * float(time_base)
            known.append(end_s + since_s)
            end_s = float(known[-1][-1]) + step_s
        times_s = np.concatenate(known)[:num_frames]
        return np.concatenate([times_s, end_s + np.arange(num_frames - len(times_s)) * step_s])


def timeline_of(packets: Iterable[tuple[int | None, bool]]) -> Timeline:
    """The timeline of a video's packets in the order of the file, each with its time stamp and whether it is a key.

    Between two key frames, packets lie in the order of decoding and are presented in that of their time stamps. A key
    frame is presented after all that lies before it: one that is not begins a segment with a new clock.
    """
    segments: list[list[int]] = []
    num_packets, has_all_times, latest = 0, True, 0
    for pts, is_key in packets:
        num_packets += 1
        if pts is None:
            has_all_times = False
            continue
        if not segments or (is_key and pts <= latest):
            segments.append([])
            latest = pts
        segments[-1].append(pts)
        latest = max(latest, pts)
    ordered = tuple(np.sort(np.array(segment, np.int64)) for segment in segments) if has_all_times else ()
    return Timeline(segments=ordered, num_packets=num_packets)
