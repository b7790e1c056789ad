"""What the benchmarks of ingest and storage are given: synthetic people, cropped as ingest crops them."""

from __future__ import annotations

from itertools import islice

import numpy as np
from jaxtyping import Bool, UInt8

from mas_ray.config.ingest import CropConfig
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import frames, record
from mas_ray.ingest.crop import crop_from_image, warp_image, warp_mask

Crop = tuple[UInt8[np.ndarray, "size size 3"], Bool[np.ndarray, "size size"]]

INSTANTS = 2


def crops(num: int) -> list[Crop]:
    """Image (RGB) and mask of people at the default crop, each a subject and an action of its own, in four views."""
    per_subject = 4 * INSTANTS
    config = SyntheticConfig(
        num_subjects=-(-num // per_subject), takes_per_subject=1, instants_per_take=INSTANTS, fps=1
    )
    recordings = (record(config, subject, 0) for subject in range(config.num_subjects))
    pictures = (picture for item in recordings for camera in item.cameras for picture in frames(item, camera))
    found: list[Crop] = []
    for image, mask in islice(pictures, num):
        crop = CropConfig()
        affine = crop_from_image(mask, size_px=crop.size_px, margin=crop.margin)
        found.append((warp_image(image, affine, crop.size_px), warp_mask(mask, affine, crop.size_px)))
    return found
