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
    """Segment Anything, prompted by box and points taken from another method's mask, never from joints."""

    checkpoint: str
    """Path of a segment-anything checkpoint (``.pth``)."""
    sha256: str
    """Expected SHA-256 of the checkpoint; a mismatch is an error."""
    model: Literal["vit_b", "vit_l", "vit_h"] = "vit_h"
    seed: SelfieMasks | BackgroundMasks | ProvidedMasks = SelfieMasks()
    num_positive_points: int = 3
    num_negative_points: int = 2


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
