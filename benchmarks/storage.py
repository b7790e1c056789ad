"""What a view costs to keep and to read back: packed masks against PNG, Parquet shards against a tar of JPEG and PNG.

    python benchmarks/storage.py

Seconds. Synthetic people in their crops at 256²; files lie in the page cache. Rows of a shard are read whole, with
the distances and cameras that the tar does not have; image and mask are decoded from both.
"""

from __future__ import annotations

import io
import statistics
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from measure import interleaved_cpu_seconds, print_table
from people import Crop, crops

from mas_ray.ingest.geodesic import geodesic_distances
from mas_ray.ingest.rows import frame_set_row
from mas_ray.shards.images import decode_image, decode_mask, encode_distances, encode_image, encode_mask
from mas_ray.shards.read import read_rows
from mas_ray.shards.write import write_rows

NUM_VIEWS = 256
SIZE = 256
MASK_BYTES = 1024
MASK_DECODE_MS = 0.1
TIMES_AS_FAST = 2.0


def encode_png(mask: np.ndarray) -> bytes:
    """A mask as 8-bit PNG."""
    return cv2.imencode(".png", mask.astype(np.uint8) * np.uint8(255))[1].tobytes()


def decode_png(data: bytes) -> np.ndarray:
    """Inverse of ``encode_png``."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise ValueError("mask: not a decodable PNG")
    return picture > 0


def decode_packed(data: bytes) -> np.ndarray:
    """The mask of a view at the default crop."""
    return decode_mask(data, SIZE, SIZE)


def write_tar(path: Path, pictures: Sequence[Crop]) -> None:
    """A JPEG and a PNG per view, side by side."""
    with tarfile.open(path, "w") as tar:
        for index, (image, mask) in enumerate(pictures):
            for suffix, data in (("jpg", encode_image(image)), ("mask.png", encode_png(mask))):
                member = tarfile.TarInfo(f"{index:06d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def read_tar(path: Path) -> int:
    """Read and decode all of a tar; how many masks there were."""
    masks = 0
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is None:
                raise ValueError(f"{path}: {member.name}: expected a file")
            if member.name.endswith(".jpg"):
                decode_image(file.read())
            else:
                decode_png(file.read())
                masks += 1
    return masks


def write_shard(path: Path, pictures: Sequence[Crop]) -> None:
    """A row per four views, as ingest writes them."""
    views = [
        {
            "name": f"cam{index % 4}",
            "image": encode_image(image),
            "mask": encode_mask(mask),
            "geodesic_distance": encode_distances(geodesic_distances(mask)),
            "mask_source": "SelfieMasks",
            "mask_score": 1.0,
            "crop_from_image": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            "calibrated": True,
            "K": np.eye(3).ravel().tolist(),
            "R": np.eye(3).ravel().tolist(),
            "t_mm": [0.0] * 3,
        }
        for index, (image, mask) in enumerate(pictures)
    ]
    starts = range(0, len(views), 4)
    write_rows(path, [frame_set_row("take", i, timestamp_s=i / 25, views=views[i : i + 4]) for i in starts])


def read_shard(path: Path) -> int:
    """Read all of a shard, decode its images and masks; how many views there were."""
    views = [view for row in read_rows(path) for view in row["views"]]
    for view in views:
        image = decode_image(view["image"])
        decode_mask(view["mask"], *image.shape[:2])
    return len(views)


def decode_jpegs(images: Sequence[bytes]) -> None:
    """Decode images that are in memory: no container can be faster."""
    for data in images:
        decode_image(data)


def print_targets(targets: Sequence[tuple[str, bool]]) -> None:
    """Say of each target whether it is met."""
    for text, is_met in targets:
        print(f"target: {text}: {'met' if is_met else 'MISSED'}")


def compare_masks(pictures: Sequence[Crop]) -> None:
    """Print bytes, and milliseconds to write and to read a mask."""
    codecs: dict[str, tuple[Callable[[np.ndarray], bytes], Callable[[bytes], np.ndarray]]] = {
        "PNG, 8 bits": (encode_png, decode_png),
        "packed bits, zstd": (encode_mask, decode_packed),
    }
    masks = [mask for _, mask in pictures]
    data = {name: [encode(mask) for mask in masks] for name, (encode, _) in codecs.items()}
    variants: dict[str, Callable[[], object]] = {}
    for name, (encode, decode) in codecs.items():
        variants[f"write {name}"] = lambda encode=encode: [encode(mask) for mask in masks]
        variants[f"read {name}"] = lambda name=name, decode=decode: [decode(item) for item in data[name]]
    seconds = interleaved_cpu_seconds(variants, repetitions=9)
    ms = {name: 1e3 * value / len(masks) for name, value in seconds.items()}
    size = {name: sorted(map(len, items)) for name, items in data.items()}
    print_table(
        f"Masks of {len(masks)} people at {SIZE}²",
        ("codec", "bytes, median", "largest", "write ms", "read ms"),
        [
            (
                name,
                f"{statistics.median(size[name]):.0f}",
                f"{size[name][-1]}",
                f"{ms[f'write {name}']:.3f}",
                f"{ms[f'read {name}']:.3f}",
            )
            for name in codecs
        ],
    )
    ours = "packed bits, zstd"
    print_targets(
        [
            (f"every mask at most {MASK_BYTES} bytes", size[ours][-1] <= MASK_BYTES),
            (f"a mask read in at most {MASK_DECODE_MS} ms", ms[f"read {ours}"] <= MASK_DECODE_MS),
        ]
    )


def compare_containers(folder: Path, pictures: Sequence[Crop]) -> None:
    """Print the frames per second of a tar, a shard, and of the JPEG decoder alone."""
    tar, shard = folder / "people.tar", folder / "people.parquet"
    write_tar(tar, pictures)
    write_shard(shard, pictures)
    if read_tar(tar) != len(pictures) or read_shard(shard) != len(pictures):
        raise RuntimeError("benchmark: tar and shard do not hold the same views")
    images = [encode_image(image) for image, _ in pictures]
    variants: dict[str, Callable[[], object]] = {
        "tar: JPEG and PNG": partial(read_tar, tar),
        "shard: JPEG and packed mask": partial(read_shard, shard),
        "JPEG decoding alone": partial(decode_jpegs, images),
    }
    seconds = interleaved_cpu_seconds(variants, repetitions=9)
    base, ours = seconds["tar: JPEG and PNG"], seconds["shard: JPEG and packed mask"]
    print_table(
        f"Read and decode {len(pictures)} views at {SIZE}²",
        ("container", "views/s", "times as fast"),
        [(name, f"{len(pictures) / value:.0f}", f"{base / value:.2f}") for name, value in seconds.items()],
    )
    print_targets([(f"a shard at least {TIMES_AS_FAST:.0f}x as fast as the tar", base / ours >= TIMES_AS_FAST)])


def main() -> None:
    """Print both tables."""
    cv2.setNumThreads(1)
    pictures = crops(NUM_VIEWS)
    compare_masks(pictures)
    with tempfile.TemporaryDirectory() as folder:
        compare_containers(Path(folder), pictures)


if __name__ == "__main__":
    main()
