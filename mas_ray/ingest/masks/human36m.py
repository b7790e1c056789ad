"""Human3.6M's own masks: one MATLAB v7.3 (HDF5) file per video, read one frame at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import UInt8

from mas_ray.ingest.rejects import BadTakeError


def read_matlab_masks(
    path: Path, frames: Sequence[int]
) -> Iterator[tuple[int, UInt8[np.ndarray, "height width"] | None]]:
    """The wanted frames' masks, 0 or 255; None where the file ends before (it may be a frame shorter than the video).

    The dataset ``Masks`` holds one reference per frame to a 0/1 array, which MATLAB stores transposed.

    Raises:
        BadTakeError: It is no such file (``unreadable_masks``).
    """
    try:
        with h5py.File(path, "r") as file:
            references = np.asarray(file["Masks"]).ravel()
            for frame in frames:
                if frame >= len(references):
                    yield frame, None
                    continue
                mask = np.asarray(file[references[frame]]).T
                if mask.ndim != 2:
                    raise BadTakeError("unreadable_masks", f"{path.name}: the mask of frame {frame} is no picture")
                yield frame, np.where(mask > 0, 255, 0).astype(np.uint8)
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, BadTakeError):
            raise
        reason = str(error).splitlines()[0]
        raise BadTakeError(
            "unreadable_masks", f"{path.name}: expected HDF5 with references to masks in Masks: {reason}"
        ) from None
