"""Pictures and clips that strangers send: decoded within limits, or refused with a reason."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image as Pictures
from PIL import ImageOps, UnidentifiedImageError

from mas_ray.config.ingest import DecodeLimits
from mas_ray.corpora.take import Clip
from mas_ray.ingest.decode import open_clip
from mas_ray.ingest.rejects import BadTakeError

_FORMATS = ("JPEG", "PNG", "WEBP")
_LONGEST_DECODING_S = 60.0


class RefusedUploadError(ValueError):
    """What was sent is not what can be answered; ``is_too_large`` tells the one reason from the other."""

    def __init__(self, message: str, *, is_too_large: bool = False) -> None:
        super().__init__(message)
        self.is_too_large = is_too_large


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """Upright RGB frames and when they are shown."""

    images: list[UInt8[np.ndarray, "height width 3"]]
    times_s: Float64[np.ndarray, " frames"]


def decode_picture(data: bytes, *, max_pixels: int) -> Frames:
    """A JPEG, PNG or WebP picture, turned as its EXIF data say.

    Raises:
        RefusedUploadError: It is none, it is damaged, or it has too many pixels.
    """
    try:
        with warnings.catch_warnings(), Pictures.open(io.BytesIO(data), formats=_FORMATS) as picture:
            warnings.simplefilter("error", Pictures.DecompressionBombWarning)
            width, height = picture.size  # of the header: nothing is decoded yet
            if width * height > max_pixels:
                raise RefusedUploadError(
                    f"the picture has {width} x {height} pixels, at most {max_pixels:,} are taken", is_too_large=True
                )
            upright = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (Pictures.DecompressionBombWarning, Pictures.DecompressionBombError):
        raise RefusedUploadError(f"the picture has more than {max_pixels:,} pixels", is_too_large=True) from None
    except UnidentifiedImageError:
        raise RefusedUploadError(f"expected a picture ({', '.join(_FORMATS)})") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, RefusedUploadError):
            raise
        raise RefusedUploadError(f"the picture does not decode: {' '.join(str(error).split())}") from None
    return Frames(images=[upright], times_s=np.zeros(1))


def decode_clip(file: Path, *, max_pixels: int, max_frames: int, max_pixels_in_all: int) -> Frames:
    """A short video's frames, decoded in a process of its own; frames that do not decode are left out.

    Raises:
        RefusedUploadError: It is none, it is damaged, or it has too many frames or pixels.
    """
    limits = DecodeLimits(max_pixels=max_pixels, max_frames=max_frames, max_clip_s=_LONGEST_DECODING_S)
    try:
        with open_clip(Clip(view="clip", video=str(file)), limits) as source:
            info = source.info
            if info.num_frames * info.width_px * info.height_px > max_pixels_in_all:
                raise RefusedUploadError(
                    f"the clip has {info.num_frames} frames of {info.width_px} x {info.height_px} pixels, "
                    f"at most {max_pixels_in_all:,} pixels in all are taken",
                    is_too_large=True,
                )
            decoded = [(n, image) for n, image in source.frames(range(info.num_frames)) if image is not None]
    except BadTakeError as error:
        is_too_large = error.reason in ("too_long", "too_large")
        raise RefusedUploadError(f"the clip cannot be used: {error.reason}", is_too_large=is_too_large) from None
    if not decoded:
        raise RefusedUploadError("the clip cannot be used: no frame decodes")
    numbers = [number for number, _ in decoded]
    return Frames(images=[image for _, image in decoded], times_s=info.times_s[numbers])
