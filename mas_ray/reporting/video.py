"""Writing a video that every browser plays (H.264, yuv420p, index at the front), and taking a picture of one."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from jaxtyping import UInt8

from mas_ray.shards.location import Location, publishing


def middle_frame(path: Path) -> UInt8[np.ndarray, "height width 3"] | None:
    """A frame near the middle of a video; None if nothing decodes."""
    try:
        with av.open(str(path)) as container:
            if container.duration:
                container.seek(container.duration // 2)
            frame = next(container.decode(video=0), None)
    except av.error.FFmpegError:
        return None
    return None if frame is None else np.ascontiguousarray(frame.to_ndarray(format="rgb24"))


def write_video(path: Location, frames: Iterable[UInt8[np.ndarray, "height width 3"]], frames_per_s: Fraction) -> int:
    """Encode RGB frames of one even size, whole or not at all.

    Returns:
        How many frames were written. With none, no file is.

    Raises:
        ValueError: A frame has an odd side or another size than the first; the message names the file.
    """
    num_frames = 0
    with publishing(path) as partial:
        with av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as container:
            stream = container.add_stream("libx264", rate=frames_per_s, options={"preset": "veryfast", "crf": "23"})
            stream.pix_fmt = "yuv420p"
            for image in frames:
                height, width = image.shape[:2]
                if num_frames == 0:
                    stream.width, stream.height = width, height
                if height % 2 or width % 2 or (width, height) != (stream.width, stream.height):
                    raise ValueError(
                        f"{path}: frame {num_frames} is {width}x{height} px, expected even sides and one size"
                    )
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                num_frames += 1
            if num_frames:
                container.mux(stream.encode(None))
        if num_frames == 0:
            partial.unlink(missing_ok=True)
    return num_frames
