"""The TikTok dataset (Jafarian and Park, CVPR 2021) as it is handed out: dances of single people, as pictures.

::

    <root>/00034/images/0001.png
                 masks/0001.png      optional for all or for none

The root is the release's ``TikTok_dataset`` folder. Takes are sequences, each with one view and no calibration; who
dances is not said, so every sequence is a subject, and an action, of its own. There are no reference joints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mas_ray.corpora.take import Clip, Take

PAPER_TRAINING_SEQUENCES = (
    *("00034", "00035", "00036", "00037", "00040", "00042", "00043", "00044", "00045", "00058", "00059", "00061"),
    *("00062", "00063", "00076", "00077", "00104", "00107", "00112", "00140", "00142", "00144", "00146", "00152"),
    *("00158", "00165", "00195", "00208", "00221", "00234", "00238", "00249", "00251", "00257", "00275", "00277"),
    *("00280", "00283", "00303", "00313", "00323"),
)
"""The sequences that the paper's authors chose by hand, by the list in their later code."""
PAPER_TEST_SEQUENCE = "00326"
"""The one that they held out."""
PAPER_SEQUENCES = (*PAPER_TRAINING_SEQUENCES, PAPER_TEST_SEQUENCE)

_SKIPPED_FRAMES = 20
"""At either end of each sequence, as in that code."""
_FRAMES_PER_S = 30.0
_MOST_LISTED = 5


def sources(root: Path) -> Iterator[Take]:
    """The sequences below ``root`` in the order of their numbers.

    Raises:
        ValueError: There is none, one has no pictures, or some have masks and others do not; the message names them.
    """
    folders = sorted(path for path in root.iterdir() if _is_sequence(path)) if root.is_dir() else []
    if not folders:
        raise ValueError(f"{root}: no sequence of the TikTok dataset (00001, 00002, ...) here")
    has_masks = any((folder / "masks").is_dir() for folder in folders)
    wanted = [folder / part for folder in folders for part in ("images", "masks") if part == "images" or has_masks]
    missing = [str(path) for path in wanted if not path.is_dir()]
    if missing:
        more = f" and {len(missing) - _MOST_LISTED} more" if len(missing) > _MOST_LISTED else ""
        raise ValueError(f"not where the release has them: {', '.join(missing[:_MOST_LISTED])}{more}")
    return (_take(folder, has_masks=has_masks) for folder in folders)


def _is_sequence(path: Path) -> bool:
    return path.is_dir() and re.fullmatch(r"\d{5}", path.name) is not None


def _take(folder: Path, *, has_masks: bool) -> Take:
    masks = str(folder / "masks") if has_masks else None
    clip = Clip(view="image", video=str(folder / "images"), masks=masks, frames_per_s=_FRAMES_PER_S)
    return Take(take_id=folder.name, subject=folder.name, action=folder.name, clips=(clip,), skip_ends=_SKIPPED_FRAMES)
