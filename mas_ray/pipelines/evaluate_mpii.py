"""``mas-ray evaluate --mpii``: keypoints in single pictures, against MPII's annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float64, UInt8

from mas_ray import assets
from mas_ray.annotations.mpii import PicturePerson, read_mpii
from mas_ray.config.ingest import DecodeLimits, SelfieMasks, seed_of
from mas_ray.config.jobs import EvaluateMpiiJob
from mas_ray.evaluation.mpii import FORMAT, PROTOCOL, MpiiEvaluation, NotFound, pckh_figures, write_mpii
from mas_ray.geometry.affine import apply_affine, invert_affine
from mas_ray.geometry.pixel_grid import pixel_from_ndc
from mas_ray.inference import FrameSetEstimator
from mas_ray.ingest.crop import warp_image
from mas_ray.ingest.masks.create import create_view_masker
from mas_ray.ingest.upload import RefusedUploadError, decode_picture
from mas_ray.pipelines.named_checkpoint import named_checkpoint
from mas_ray.pipelines.progress import progress
from mas_ray.shards.location import location

_CROP_PX = 256
_AT_ONCE = 32
_MARGIN = 1.25
_DOWN = 15.0 / 200.0  # of the person's height: MPII's centre is above the person's middle

Image = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Crop:
    """The square around a person, as the networks are to see it."""

    image: UInt8[np.ndarray, "size size 3"]
    crop_from_picture: Float64[np.ndarray, "2 3"]


def evaluate_mpii(job: EvaluateMpiiJob) -> MpiiEvaluation:
    """Run the job; writes ``mpii.json`` into its output folder.

    A picture that does not decode, and one in which no person is found, costs its people their joints, and is counted.

    Raises:
        ValueError: The checkpoint or a file of MPII is missing or not what it should be; the message names it.
    """
    root = Path(job.mpii)
    people = read_mpii(root)
    if not (root / "images").is_dir():
        raise ValueError(f"{root / 'images'}: expected MPII's pictures here")
    with named_checkpoint(job.checkpoint, job.tracking_uri) as (name, checkpoint):
        estimator = FrameSetEstimator.load(checkpoint)
    mask = _masker(job) if estimator.cascade.detector.background == "removed" else None
    skeleton = estimator.skeleton
    predicted_px = torch.full((len(people), skeleton.num_joints, 2), torch.nan, dtype=torch.float64)
    not_found: Counter[str] = Counter()
    waiting: list[tuple[int, _Crop]] = []

    def predict() -> None:
        if waiting:
            keypoints_px = _keypoints_px(estimator, [crop for _, crop in waiting])
            predicted_px[[number for number, _ in waiting]] = keypoints_px
            waiting.clear()

    with progress("evaluate", len(people), "people") as advance:
        for number, person in enumerate(people):
            crop = _crop(root / "images" / person.picture, person, mask)
            if isinstance(crop, str):
                not_found[crop] += 1
            else:
                waiting.append((number, crop))
            if len(waiting) == _AT_ONCE:
                predict()
            advance(1)
        predict()
    evaluation = MpiiEvaluation(
        format=FORMAT,
        protocol=PROTOCOL,
        checkpoint=name,
        masks=type(job.masks).__name__ if mask else "none",
        num_people=len(people),
        not_found=tuple(NotFound(reason=reason, num_people=num) for reason, num in sorted(not_found.items())),
        figures=pckh_figures(
            predicted_px,
            torch.from_numpy(np.stack([person.joints_px for person in people])),
            torch.from_numpy(np.stack([person.visible for person in people])),
            torch.tensor([person.head_px for person in people], dtype=torch.float64),
            skeleton,
        ),
    )
    write_mpii(location(job.output) / "mpii.json", evaluation)
    return evaluation


def crop_from_picture(person: PicturePerson, size_px: int) -> Float64[np.ndarray, "2 3"]:
    """From pixels of the picture to those of the protocol's square."""
    centre_px = person.centre_px + np.array([0.0, _DOWN * person.height_px])
    scale = size_px / (_MARGIN * person.height_px)
    offset_px = (size_px - 1) / 2 - scale * centre_px
    return np.array([[scale, 0.0, offset_px[0]], [0.0, scale, offset_px[1]]], dtype=np.float64)


_Masker = Callable[[Image], np.ndarray | None]


def _masker(job: EvaluateMpiiJob) -> _Masker:
    """The method anew for every picture: they have nothing to do with one another."""
    network = assets.SELFIE_SEGMENTATION
    needs_network = isinstance(seed_of(job.masks), SelfieMasks)
    model = assets.fetch(network) / network.members[0].name if needs_network else None

    def mask(image: Image) -> np.ndarray | None:
        masker = create_view_masker(
            job.masks, selfie_model=model, sample_frames=lambda num: [image], background=None, provided=None
        )
        person = masker(image, 0)
        return None if person is None else person.mask

    return mask


def _crop(picture: Path, person: PicturePerson, mask: _Masker | None) -> _Crop | str:
    """The person's square, or the reason why there is none."""
    try:
        (image,) = decode_picture(picture.read_bytes(), max_pixels=DecodeLimits().max_pixels).images
    except (OSError, RefusedUploadError):
        return "unreadable_picture" if picture.is_file() else "missing_picture"
    affine = crop_from_picture(person, _CROP_PX)
    square = warp_image(image, affine, _CROP_PX)
    if mask is not None:
        found = mask(square)
        if found is None:
            return "no_person"
        square = np.where(found[..., None], square, np.uint8(0))
    return _Crop(image=square, crop_from_picture=affine)


def _keypoints_px(estimator: FrameSetEstimator, crops: list[_Crop]) -> torch.Tensor:
    size = estimator.cascade.detector.input_size
    images = np.stack([cv2.resize(crop.image, (size, size), interpolation=cv2.INTER_AREA) for crop in crops])
    with torch.inference_mode():
        keypoints_ndc, _, _ = estimator.picture_detector()(
            torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 255.0
        )
    affines = torch.from_numpy(np.stack([crop.crop_from_picture for crop in crops]))
    return apply_affine(invert_affine(affines), pixel_from_ndc(keypoints_ndc.double(), _CROP_PX))
