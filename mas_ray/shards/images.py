"""Codecs of the binary columns: JPEG crops, packed masks, quantised geodesic distances."""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, UInt8

_ZSTD = pa.Codec("zstd", compression_level=1)
_JPEG_QUALITY = 90


def encode_image(image_rgb: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """JPEG at quality 90."""
    bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()


def decode_image(data: bytes) -> UInt8[np.ndarray, "height width 3"]:
    """RGB pixels of a JPEG; ``ValueError`` if it is none."""
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("image: not a decodable JPEG")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def encode_mask(mask: Bool[np.ndarray, "height width"]) -> bytes:
    """One bit per pixel, row by row, zstd; the size is that of the row's image."""
    return _ZSTD.compress(np.packbits(mask).tobytes(), asbytes=True)


def decode_mask(data: bytes, height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """Inverse of ``encode_mask``."""
    packed = _ZSTD.decompress(data, decompressed_size=(height * width + 7) // 8, asbytes=True)
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=height * width)
    return bits.reshape(height, width).view(np.bool_)


def encode_distances(distances: Float32[np.ndarray, "2 size size"]) -> bytes:
    """Foreground and background distance in [0, 1], quantised to 1/255, zstd."""
    return _ZSTD.compress(np.round(distances * 255).astype(np.uint8).tobytes(), asbytes=True)


def decode_distances(data: bytes, size: int) -> Float32[np.ndarray, "2 size size"]:
    """Inverse of ``encode_distances`` up to the quantisation."""
    planes = _ZSTD.decompress(data, decompressed_size=2 * size * size, asbytes=True)
    return np.frombuffer(planes, np.uint8).reshape(2, size, size).astype(np.float32) / np.float32(255)
