"""Which frames of a video become instants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from mas_ray.config.ingest import FrameSampling


def sampled_frames(sampling: FrameSampling, times_s: Float64[np.ndarray, " frames"]) -> Sequence[int]:
    """The numbers of the frames to take, ascending.

    Args:
        sampling: How to choose.
        times_s: When each frame of the video is shown, never descending.
    """
    num_frames = len(times_s)
    if sampling.frames_per_s is not None:
        chosen: Sequence[int] = _nearest(times_s, sampling.frames_per_s).tolist()
    elif sampling.num_spread is not None and sampling.num_spread < num_frames:
        chosen = np.linspace(0, num_frames - 1, sampling.num_spread).round().astype(int).tolist()
    else:
        chosen = range(0, num_frames, sampling.stride)
    return chosen[: sampling.max_instants]


def _nearest(times_s: Float64[np.ndarray, " frames"], frames_per_s: float) -> Int64[np.ndarray, " chosen"]:
    """The frames that are nearest in time to one of the moments 0, 1 / rate, 2 / rate, ... while the video lasts.

    A frame is nearest to what lies between its two midpoints to its neighbours: it is taken if a moment does, of two
    frames equally near the earlier. So frames that stand for long, or come thicker than the rate, are taken once.
    """
    if len(times_s) < 2:
        return np.arange(len(times_s))
    midpoints = (times_s[1:] + times_s[:-1]) / 2
    last = times_s[-1] + (times_s[-1] - times_s[-2]) / 2
    # The number of moments up to each midpoint; rounded, so that noise of the last digit decides no tie.
    moments = np.floor(np.round(np.append(midpoints, last) * frames_per_s, 6))
    return np.flatnonzero(np.diff(moments, prepend=-1.0) > 0)
