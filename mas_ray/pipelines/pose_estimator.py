"""PoseEstimator: frames of a video in, poses out. For programs; ``mas-ray predict`` is for files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8

from mas_ray import assets
from mas_ray.config.ingest import CropConfig, MaskConfig, SelfieMasks, seed_of
from mas_ray.config.predict import WHOEVER_IS_THERE
from mas_ray.corpora.take import Clip
from mas_ray.inference import PREDICTED_AT_ONCE, FrameSetEstimator, joints_of_views
from mas_ray.ingest.masks.create import create_view_masker
from mas_ray.ingest.masks.method import PersonMask
from mas_ray.ingest.rows import Row, frame_set_row, view_row
from mas_ray.pipelines.named_checkpoint import named_checkpoint

Image = UInt8[np.ndarray, "height width 3"]
Mask = Bool[np.ndarray, "height width"]

_CLIP = Clip(view="view", video="")
_SLOTS = {"": (_CLIP.view,)}


@dataclass(frozen=True, kw_only=True, eq=False)
class PersonPose:
    """The largest person in one frame."""

    keypoints_px: Float32[np.ndarray, "joints 2"]
    """(0, 0) is the centre of the top-left pixel."""
    confidence: Float32[np.ndarray, " joints"]
    """How concentrated the heatmap is, 0 to 1."""
    joints_camera_mm: Float32[np.ndarray, "joints 3"] | None
    """About the pelvis: x right, y down, z away, as large as a person of 1.7 m; None where no scale explains them."""
    mask: Mask
    """The person's pixels, by which the picture was cut."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundPerson:
    """The largest person in one frame, cut out as ingest does it."""

    mask: Mask
    view: Row
    """As ``shards.schema.VIEW``."""


class PoseEstimator:
    """A checkpoint, ready for frames.

    >>> estimator = PoseEstimator.load("models:/mas-ray@candidate", tracking_uri="sqlite:///runs/mlflow.db")
    >>> poses = estimator.predict(frames)  # RGB pictures of one camera, in order; None where nobody is
    """

    def __init__(self, networks: FrameSetEstimator, masks: MaskConfig | None = None) -> None:
        """Take over networks.

        Args:
            networks: Trained.
            masks: How the person is found; None: by the selfie segmentation network, which is fetched once.
        """
        self._networks = networks
        self._masks = SelfieMasks() if masks is None else masks

    @classmethod
    def load(
        cls, checkpoint: str, *, tracking_uri: str | None = None, masks: MaskConfig | None = None
    ) -> PoseEstimator:
        """Load a checkpoint; runs on the first GPU if there is one.

        Args:
            checkpoint: A folder or its URI, ``packaged``, ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.
            tracking_uri: MLflow store of the latter two; None: what ``MLFLOW_TRACKING_URI`` says.
            masks: As of the class.

        Raises:
            ValueError: There is no such checkpoint; the message says what is wrong.
        """
        with named_checkpoint(checkpoint, tracking_uri) as (_, folder):
            networks = FrameSetEstimator.load(folder)
        if torch.cuda.is_available():
            networks.to(torch.device("cuda"))
        return cls(networks, masks)

    @property
    def joints(self) -> tuple[str, ...]:
        """Names along every joints axis."""
        return self._networks.skeleton.joints

    def predict(
        self, frames: Sequence[Image], *, masks: Sequence[Mask | None] | None = None
    ) -> tuple[PersonPose | None, ...]:
        """The pose in every frame; None where nobody is.

        Args:
            frames: RGB, of one camera and one size, in the order of time: the scene is learnt from all of them, and the
                person followed. A single picture is fine.
            masks: The person in each frame, if that is known; nothing is masked then.

        Raises:
            ValueError: Frames are not pictures of one size, or masks are not of them; the message says which.
        """
        found = self.find(frames, masks=masks)
        poses = iter(self.poses([person for person in found if person is not None]))
        return tuple(None if person is None else next(poses) for person in found)

    def find(self, frames: Sequence[Image], *, masks: Sequence[Mask | None] | None = None) -> list[FoundPerson | None]:
        """The first half of ``predict``: mask the people, and cut them out; the networks are not asked."""
        _check(frames, masks)
        if not frames:
            return []
        people = self._masked(frames) if masks is None else [_given(mask) for mask in masks]
        return [_cut(image, person) for image, person in zip(frames, people, strict=True)]

    def poses(self, people: Sequence[FoundPerson]) -> list[PersonPose]:
        """The other half: ask the networks, of people from anywhere."""
        poses: list[PersonPose] = []
        for start in range(0, len(people), PREDICTED_AT_ONCE):
            some = people[start : start + PREDICTED_AT_ONCE]
            rows = [frame_set_row("", n, shot=0, timestamp_s=0.0, views=[each.view]) for n, each in enumerate(some)]
            prediction = self._networks.predict(rows, _SLOTS)
            camera = joints_of_views(prediction, self._networks.skeleton)
            poses += [
                PersonPose(
                    keypoints_px=prediction.keypoints_px[n, 0].numpy(),
                    confidence=prediction.confidence[n, 0].numpy(),
                    joints_camera_mm=camera[n, 0].numpy() if camera[n, 0].isfinite().all() else None,
                    mask=person.mask,
                )
                for n, person in enumerate(some)
            ]
        return poses

    def _masked(self, frames: Sequence[Image]) -> list[PersonMask | None]:
        network = assets.SELFIE_SEGMENTATION
        needs_network = isinstance(seed_of(self._masks), SelfieMasks)
        masker = create_view_masker(
            self._masks,
            selfie_model=assets.fetch(network) / network.members[0].name if needs_network else None,
            sample_frames=lambda num: _spread(frames, num),
            background=None,
            provided=None,
        )
        return [masker(image, number) for number, image in enumerate(frames)]


def _check(frames: Sequence[np.ndarray], masks: Sequence[np.ndarray | None] | None) -> None:
    for number, frame in enumerate(frames):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != frames[0].shape:
            expected = "height x width x 3 bytes" if number == 0 else f"{frames[0].shape} as the first"
            raise ValueError(f"frames: number {number}: expected {expected}, got {frame.dtype} {frame.shape}")
    if masks is None:
        return
    if len(masks) != len(frames):
        raise ValueError(f"masks: expected one for each of {len(frames)} frames, got {len(masks)}")
    for number, mask in enumerate(masks):
        if mask is not None and (mask.dtype != np.bool_ or mask.shape != frames[0].shape[:2]):
            raise ValueError(
                f"masks: number {number}: expected bool {frames[0].shape[:2]}, got {mask.dtype} {mask.shape}"
            )


def _cut(image: Image, person: PersonMask | None) -> FoundPerson | None:
    view = view_row(_CLIP, image, person=person, mask_source="", mask_quality=WHOEVER_IS_THERE, crop=CropConfig())
    return None if person is None or isinstance(view, str) else FoundPerson(mask=person.mask, view=view)


def _given(mask: Mask | None) -> PersonMask | None:
    return None if mask is None or not mask.any() else PersonMask(mask=mask, score=1.0)


def _spread(frames: Sequence[Image], num: int) -> list[Image]:
    """At most so many frames, evenly spread."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(num, len(frames))).round().astype(int))
    return [frames[number] for number in chosen]
