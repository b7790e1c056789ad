"""What ingest is told: how frames are chosen, people masked, crops cut and splits made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class SelfieMasks:
    """MediaPipe's selfie segmentation network on the person's region, refined by graph cut."""

    refine_with_graph_cut: bool = True
    """Sharpen the network's 256x256 answer at the image's own edges (slower)."""


@dataclass(frozen=True, kw_only=True)
class BackgroundMasks:
    """Static cameras: difference to a background plate and a Gaussian mixture, refined by graph cut."""

    plate: Literal["median", "given"] = "median"
    """``median`` of frames sampled over the clip, for people who leave every place within half of it (whoever
    stays is in the plate); or ``given``: ``backgrounds/<camera>.png`` in the take."""
    num_plate_frames: int = 25
    refine_with_graph_cut: bool = True


@dataclass(frozen=True, kw_only=True)
class ProvidedMasks:
    """Masks that lie beside the videos: ``masks/<camera>.mp4`` or ``masks/<camera>/<frame:06d>.png``."""


@dataclass(frozen=True, kw_only=True)
class SamMasks:
    """Segment Anything, prompted by its own last mask, and by another method's where there is none; never by joints."""

    checkpoint: str
    """Path or URL (``http://``, ``https://``) of a segment-anything checkpoint (``.pth``)."""
    sha256: str
    """Expected SHA-256 of the checkpoint; a mismatch is an error."""
    model: Literal["vit_b", "vit_l", "vit_h"] = "vit_h"
    seed: SelfieMasks | BackgroundMasks | ProvidedMasks = SelfieMasks()
    """Prompts the first frame, and every frame in which the track is lost. Elsewhere it does not run."""
    num_positive_points: int = 3
    num_negative_points: int = 2
    min_score: float = 0.5
    """Smallest IoU that the network may predict of a mask. Below it the track is lost, and a seeded mask nobody."""
    min_overlap: float = 0.5
    """Smallest IoU of a mask with the last one, moved on as the person moves; below it the track is lost."""
    max_area_change: float = 1.5
    """Largest ratio of a mask's area to the last one's, either way; beyond it the track is lost."""
    min_seed_overlap: float = 0.3
    """Smallest IoU of a mask with the seed's, wherever the seed is asked."""
    check_every: int = 25
    """After this many masks without it the seed is asked, and a track that has drifted off its mask is lost."""

    def __post_init__(self) -> None:
        if self.max_area_change < 1.0:
            raise ValueError(f"max_area_change: expected at least 1, got {self.max_area_change}")
        if self.check_every < 1:
            raise ValueError(f"check_every: expected at least 1, got {self.check_every}")


@dataclass(frozen=True, kw_only=True)
class SamWorkers:
    """Ray actors that run Segment Anything for all take workers. They decide where it runs, not what it finds."""

    num: int = 1
    cpus_each: float = 1.0
    gpus_each: float = 1.0
    """May be a fraction; 0: the network runs on the CPU."""
    batch_size: int = 8
    """Frames that a view encodes in one pass of the network: how far it reads ahead."""
    compile: bool = False
    """``torch.compile`` the image encoder: minutes at the start, and faster on a GPU from then on."""
    max_attempts: int = 3
    """Times that a call is tried whose actor dies."""

    def __post_init__(self) -> None:
        if self.num < 1:
            raise ValueError(f"num: expected at least one actor, got {self.num}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {self.batch_size}")
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts: expected at least 1, got {self.max_attempts}")


MaskConfig = SelfieMasks | BackgroundMasks | ProvidedMasks | SamMasks


@dataclass(frozen=True, kw_only=True)
class MaskQualityConfig:
    """When a mask is good enough to learn from. A mask that fails is a counted reject with its reason."""

    min_area_fraction: float = 0.005
    """Smallest share of the image that a person may cover."""
    max_area_fraction: float = 0.7
    min_height_px: int = 32
    """Smallest height of the person in the source image."""
    max_border_fraction: float = 0.02
    """Largest share of the mask's pixels that may lie on the image border (a person cut off)."""


@dataclass(frozen=True, kw_only=True)
class CropConfig:
    """The square cut around the person's mask."""

    size_px: int = 256
    margin: float = 1.2
    """Side of the square as a multiple of the longer side of the mask's box."""


@dataclass(frozen=True, kw_only=True)
class FrameSampling:
    """Which frames of a take become instants."""

    stride: int = 1
    max_instants: int | None = None
    """At most this many instants of each take, from its start."""

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ValueError(f"stride: expected at least 1, got {self.stride}")
        if self.max_instants is not None and self.max_instants < 1:
            raise ValueError(f"max_instants: expected at least 1, got {self.max_instants}")


@dataclass(frozen=True, kw_only=True)
class SplitByTail:
    """Within every take: the last instants are held out for testing, after a gap that is not used.

    Of what lies before the gap, the last ``validation`` instants select checkpoints (by reconstruction).
    """

    test: int = 25
    gap: int = 10
    validation: int = 8


@dataclass(frozen=True, kw_only=True)
class SplitBySubject:
    """Whole subjects are held out; every subject not named trains."""

    validation: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class NoSplit:
    """Everything trains (nothing is held out for testing); checkpoints are selected on the training split."""


SplitConfig = SplitByTail | SplitBySubject | NoSplit
