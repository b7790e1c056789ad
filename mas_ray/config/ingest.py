"""What ingest is told: how frames are chosen, people masked, crops cut and splits made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CorpusKind = Literal["folder", "human36m", "mpi_inf_3dhp", "tiktok"]
"""How raw recordings lie on disk: ``folder`` is the plain layout, the others are official releases."""


@dataclass(frozen=True, kw_only=True)
class SelfieMasks:
    """MediaPipe's selfie segmentation network on the person's region, change against the scene, graph cut."""

    refine_with_graph_cut: bool = True
    """Sharpen the network's 256x256 answer at the image's own edges (slower)."""


@dataclass(frozen=True, kw_only=True)
class BackgroundMasks:
    """Static cameras: difference to a background plate and a Gaussian mixture, refined by graph cut."""

    plate: Literal["median", "mixture", "given"] = "median"
    """``median`` of frames sampled over the clip, for people who leave every place within half of it (whoever
    stays is in the plate); ``mixture``: no plate, the Gaussian mixture of those frames alone; or ``given``:
    ``backgrounds/<camera>.png`` in the take."""
    num_plate_frames: int = 25
    refine_with_graph_cut: bool = True


@dataclass(frozen=True, kw_only=True)
class MotionMasks:
    """Whoever moves against the scene, by a camera that stands or pans. Rough: a seed for other methods."""

    num_scene_frames: int = 25


@dataclass(frozen=True, kw_only=True)
class GraphCutMasks:
    """GrabCut from the box of another method's mask: separates people from surroundings of other colours."""

    seed: MotionMasks | SelfieMasks = MotionMasks()


@dataclass(frozen=True, kw_only=True)
class ChromaKeyMasks:
    """A studio's backdrop of one strong colour."""

    key_rgb: tuple[int, int, int] | None = None
    """Its colour; None finds it at the rims of frames sampled over the clip."""


@dataclass(frozen=True, kw_only=True)
class ProvidedMasks:
    """Beside the videos: ``masks/<camera>.mp4``, ``<camera>/<frame:06d>.png``, or Human3.6M's ``<camera>.mat``."""


@dataclass(frozen=True, kw_only=True)
class SamMasks:
    """Segment Anything, prompted by its own last mask, and by another method's where there is none; never by joints."""

    checkpoint: str
    """Path or URL (``http://``, ``https://``) of a segment-anything checkpoint (``.pth``)."""
    sha256: str
    """Expected SHA-256 of the checkpoint; a mismatch is an error."""
    model: Literal["vit_b", "vit_l", "vit_h"] = "vit_h"
    seed: SelfieMasks | BackgroundMasks | MotionMasks | ProvidedMasks = SelfieMasks()
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


MaskConfig = SelfieMasks | BackgroundMasks | MotionMasks | GraphCutMasks | ChromaKeyMasks | ProvidedMasks | SamMasks


def seed_of(masks: MaskConfig) -> MaskConfig:
    """The method that finds the person in the first place, where others only refine it."""
    return seed_of(masks.seed) if isinstance(masks, SamMasks | GraphCutMasks) else masks


@dataclass(frozen=True, kw_only=True)
class MaskQualityConfig:
    """When a mask is good enough to learn from. A mask that fails is a counted reject with its reason.

    It applies to every view of every take.
    """

    min_area_fraction: float = 0.005
    """Smallest share of the image that a person may cover."""
    max_area_fraction: float = 0.7
    min_height_px: int = 32
    """Smallest height of the person in the source image."""
    max_border_contact: float = 0.02
    """How much of a person the image's border may cut: the length along which the mask touches it, as a share of the
    longer side of the mask's box. A foot that is cut off touches along 0.05 or more."""
    max_others: float = 0.3
    """Largest area of other people in the picture, as a multiple of the person's; more is ``several_people``."""
    min_sharpness: float = 0.01
    """Least share of a person's contrast that lies between neighbouring pixels (``frame_look.sharpness``): people in
    focus have 0.2 and more, the same people blurred by a hundredth of their height have 0.01."""


@dataclass(frozen=True, kw_only=True)
class CurationConfig:
    """Which clips, shots, frames and masks are worth keeping. What is left out is a counted reject with its reason.

    It applies to single views. Cameras that film together are cut together and stand still together, and a mask that is
    wrong shows against the other views; so of takes with several views only exact copies are left out.
    """

    min_cut_difference: float = 0.33
    """Least difference (0 to 1, of colours and structure together) between the pictures on the two sides of a cut."""
    min_cut_over_motion: float = 3.0
    """The same as a multiple of how much neighbouring frames differ around it."""
    min_contrast: float = 6.0
    """Least standard deviation of brightness within a picture, in levels of 255; less is ``blank``."""
    max_flash: float = 30.0
    """How much brighter than the frames around it a frame may be, in levels of 255; more is ``flash``."""
    min_change: float = 7.0
    """How much some part of the picture (a 40th of its longer side) must change against the frames kept last, in levels
    of 255; less is ``repeated``. Noise and compression of a picture that stands still give up to 7."""
    min_stability: float = 0.35
    """Least overlap (IoU of the shapes, laid on one another) with the mask before or after, else ``unstable_mask``."""
    min_stability_over_neighbours: float = 0.8
    """The same as a multiple of the overlap of the two with one another: a mask that is unlike both, while they are
    like each other, is wrong however fast the person moves."""
    min_frames: int = 5
    """Fewest frames that a shot, and a clip, must have left."""
    min_overlap: float = 0.5
    """Share of what moves in two clips that must be equal (Jaccard) for one to be a ``near_duplicate``: copies at other
    sizes, rates and compressions share 0.6 and more, other performances before the same background 0.3 at most."""


@dataclass(frozen=True, kw_only=True)
class CropConfig:
    """The square cut around the person's mask."""

    size_px: int = 256
    margin: float = 1.2
    """Side of the square as a multiple of the longer side of the mask's box."""


@dataclass(frozen=True, kw_only=True)
class FrameSampling:
    """Which frames of a take become instants: every ``stride``-th, or by rate, or a budget spread over the take."""

    stride: int = 1
    frames_per_s: float | None = None
    """The frames nearest in time to so many instants per second, whatever the video's own rate is."""
    num_spread: int | None = None
    """At most so many instants of each take, evenly spread over it."""
    max_instants: int | None = None
    """At most this many instants of each take, from its start."""

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ValueError(f"stride: expected at least 1, got {self.stride}")
        if self.frames_per_s is not None and not 0 < self.frames_per_s < float("inf"):
            raise ValueError(f"frames_per_s: expected more than 0, got {self.frames_per_s}")
        if self.num_spread is not None and self.num_spread < 1:
            raise ValueError(f"num_spread: expected at least 1, got {self.num_spread}")
        if self.max_instants is not None and self.max_instants < 1:
            raise ValueError(f"max_instants: expected at least 1, got {self.max_instants}")
        ways = {
            "stride": self.stride != 1,
            "frames_per_s": self.frames_per_s is not None,
            "num_spread": self.num_spread is not None,
        }
        chosen = [name for name, given in ways.items() if given]
        if len(chosen) > 1:
            raise ValueError(f"{chosen[0]}: expected one way to choose frames, got {' and '.join(chosen)}")
        if self.num_spread is not None and self.max_instants is not None:
            raise ValueError("max_instants: expected none beside num_spread, which limits their number already")


@dataclass(frozen=True, kw_only=True)
class DecodeLimits:
    """What the decoding of one video may take; a video that takes more is a reject with its reason."""

    max_frame_s: float = 60.0
    """Longest wait for the decoder's next frame or other sign of life."""
    max_clip_s: float = 6 * 3600.0
    """Longest that a video's decoder may be waited for in all."""
    max_memory_mb: int = 3072
    """Address space that decoding may take, in MiB, the frames on their way included."""
    max_pixels: int = 36_000_000
    """Largest frame; 8K has 33 million pixels. No side may be longer than twice that of a square of as many."""
    max_frames: int = 2_000_000
    """Longest video, by its header and by what it holds; nine hours at 60 frames per second are within it."""

    def __post_init__(self) -> None:
        for name in ("max_frame_s", "max_clip_s", "max_memory_mb", "max_pixels", "max_frames"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected more than 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class SplitByTail:
    """Within every take: the last instants are held out for testing, after a gap that is not used.

    Of what lies before the gap, the last ``validation`` instants select checkpoints (by reconstruction). A take that is
    too short for that trains as a whole.
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
class SplitByShare:
    """About these shares of the subjects are held out; where nothing says who it is, a clip is a subject of its own.

    Who is held out depends on the name and the seed alone: a corpus that grows moves nobody.
    """

    validation: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.validation, self.test) < 0 or self.validation + self.test >= 1:
            raise ValueError(
                f"split: shares are at least 0 and together less than 1, got {self.validation} and {self.test}"
            )


@dataclass(frozen=True, kw_only=True)
class NoSplit:
    """Everything trains (nothing is held out for testing); checkpoints are selected on the training split."""


SplitConfig = SplitByTail | SplitBySubject | SplitByShare | NoSplit
