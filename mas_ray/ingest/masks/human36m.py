"""Human3.6M's own masks: one MATLAB v7.3 (HDF5) file per video, read one frame at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import UInt8

from mas_ray.ingest.rejects import BadTakeError


def read_matlab_masks(
    path: Path, frames: Sequence[int], *, max_pixels: int
) -> Iterator[tuple[int, UInt8[np.ndarray, "height width"] | None]]:
    """The wanted frames' masks, 0 or 255; None where the file ends before (it may be a frame shorter than the video).

    The dataset ``Masks`` holds one reference per frame to a 0/1 array, which MATLAB stores transposed. Nothing but
    this file is opened, whatever it names, and no array of more than ``max_pixels``, whatever it claims, is read.

    Raises:
        BadTakeError: It is no such file (``unreadable_masks``).
    """
    try:
        with h5py.File(path, "r") as file:
            references = _within(file, file["Masks"])
            for frame in frames:
                if frame >= (references.size or 0):
                    yield frame, None
                    continue
                mask = _within(file, file[references[np.unravel_index(frame, references.shape)]])
                if mask.ndim != 2:
                    raise BadTakeError("unreadable_masks", f"{path.name}: the mask of frame {frame} is no picture")
                if (mask.size or 0) > max_pixels:
                    size = f"{mask.shape[0]}x{mask.shape[1]} px, expected {max_pixels} pixels at most"
                    raise BadTakeError("unreadable_masks", f"{path.name}: the mask of frame {frame} is {size}")
                yield frame, np.where(np.asarray(mask).T > 0, 255, 0).astype(np.uint8)
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, BadTakeError):
            raise
        reason = str(error).splitlines()[0]
        raise BadTakeError(
            "unreadable_masks", f"{path.name}: expected HDF5 with references to masks in Masks: {reason}"
        ) from None


def _within(file: h5py.File, found: object) -> h5py.Dataset:
    """An array whose numbers stand in the file itself."""
    if not isinstance(found, h5py.Dataset):
        raise ValueError("a group stands where an array should")
    if found.file.filename != file.filename or found.external or found.is_virtual:
        raise ValueError("an array lies in another file")
    return found
