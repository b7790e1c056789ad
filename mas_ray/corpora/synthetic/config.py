"""How large a synthetic corpus is and what its pictures look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mas_ray.config.ingest import SplitBySubject

FrontCue = Literal["easy", "hard"]


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """A synthetic corpus. Equal configs give equal bytes."""

    num_subjects: int = 6
    """People, named s00, s01, ...: proportions belong to the subject, so that splits by subject mean something."""
    takes_per_subject: int = 4
    """Takes of each; clothes, cameras and room change from take to take."""
    instants_per_take: int = 50
    """Frames of every video."""
    num_cameras: int = 4
    """Cameras on a ring around the person, named cam01, cam02, ..."""
    fps: int = 10
    width_px: int = 256
    height_px: int = 256
    person_height_fraction: float = 0.6
    """About how much of the image's height a standing person fills; sets the focal length."""
    front_cue: FrontCue = "easy"
    """How plainly clothes tell front from back. ``easy``: a dark jacket stands wide open on a light shirt. ``hard``:
    it is almost closed, and the shirt may be the darker one. Face, hair and feet are the same in both."""
    write_masks: bool = False
    """Also write the exact masks, ``masks/<camera>/<frame:06d>.png``."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_subjects", "takes_per_subject", "instants_per_take", "num_cameras", "fps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("width_px", "height_px"):
            if getattr(self, name) < 32 or getattr(self, name) % 2:
                raise ValueError(f"{name}: expected an even number of at least 32, got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")
        if not 0.1 <= self.person_height_fraction <= 0.8:
            raise ValueError(f"person_height_fraction: expected 0.1 to 0.8, got {self.person_height_fraction}")


def learning_corpus(front_cue: FrontCue) -> SyntheticConfig:
    """The corpus on which the method's learning is measured: 40 people, 2,400 instants of four views at 5 Hz.

    It was fixed, and pinned by a test, before the first figure was taken on it; a change asks for all figures anew.
    """
    return SyntheticConfig(
        num_subjects=40,
        takes_per_subject=5,
        instants_per_take=12,
        fps=5,
        front_cue=front_cue,
        write_masks=True,
        seed=2024,
    )


def single_view_corpus(front_cue: FrontCue) -> SyntheticConfig:
    """People who are not in ``learning_corpus``, each seen by one camera: 480 instants, for mixed-view training."""
    return SyntheticConfig(
        num_subjects=40,
        takes_per_subject=1,
        instants_per_take=12,
        num_cameras=1,
        fps=5,
        front_cue=front_cue,
        write_masks=True,
        seed=2025,
    )


LEARNING_SPLIT = SplitBySubject(
    validation=("s28", "s29", "s30", "s31"), test=("s32", "s33", "s34", "s35", "s36", "s37", "s38", "s39")
)
"""Of ``learning_corpus``: 28 people (1,680 instants) train, 4 validate, 8 test."""
