"""How large a synthetic corpus is and what its pictures look like."""

from __future__ import annotations

from dataclasses import dataclass


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
