"""Pictures of what a checkpoint predicts: the same held-out frames, at a few epochs of every stage."""

from __future__ import annotations

import itertools
import shutil
import time
from pathlib import Path

import numpy as np
import torch

from mas_ray.batch import collate
from mas_ray.geometry.pixel_grid import pixel_from_ndc
from mas_ray.inference import FrameSetEstimator
from mas_ray.pipelines.run_folder import checkpoint_of_epoch
from mas_ray.reporting.overlay import draw_mask_outline, draw_skeleton
from mas_ray.shards.images import decode_image, decode_mask, encode_image
from mas_ray.shards.location import Location
from mas_ray.shards.manifest import read_manifest
from mas_ray.shards.read import read_split

_NUM_INSTANTS = 2
_NUM_EPOCHS = 5
_MOST_OF_THE_TIME = 0.02


class PicturesOverTime:
    """Draws a stage's newest checkpoint at a few of its epochs, spread over the stage.

    It runs beside training and must not slow it: a picture is left out when pictures have taken more than a fiftieth of
    the time so far. A checkpoint that Ray has replaced already is left out as well.
    """

    def __init__(self, folder: Path, stage: str, *, num_epochs: int, manifest: Location) -> None:
        self._folder = folder
        self._stage = stage
        self._manifest = manifest
        self._due = due_epochs(num_epochs)
        self._start_s = time.monotonic()
        self._spent_s = 0.0

    def see(self, num_epochs: int) -> None:
        """Draw the checkpoint after so many epochs, if a picture is due."""
        if not any(due <= num_epochs for due in self._due):
            return
        self._due = [due for due in self._due if due > num_epochs]
        begun_s = time.monotonic()
        if self._spent_s > _MOST_OF_THE_TIME * (begun_s - self._start_s):
            return
        try:
            draw_epoch(self._folder, self._stage, num_epochs, self._manifest)
        except (ValueError, OSError):  # the checkpoint went while it was read
            return
        finally:
            self._spent_s += time.monotonic() - begun_s


def due_epochs(num_epochs: int) -> list[int]:
    """Numbers of finished epochs at which a stage is drawn: the first, the last, and some between."""
    return sorted({int(number) for number in np.linspace(1, num_epochs, _NUM_EPOCHS).round()})


def draw_epoch(folder: Path, stage: str, num_epochs: int, manifest: Location) -> None:
    """Draw a stage's checkpoint after so many epochs into ``overlays/epoch<n>`` of its folder, if it is not there.

    The pictures ``<take>-<instant>.jpg`` are of the first instants of the validation split (training where there is
    none), views side by side.

    Raises:
        ValueError: There is no such checkpoint.
    """
    target = folder / "overlays" / f"epoch{num_epochs:04d}"
    if target.is_dir():
        return
    partial = target.with_name(f".{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    _draw(checkpoint_of_epoch(folder, stage, num_epochs), manifest, partial)
    partial.rename(target)


@torch.no_grad()
def _draw(checkpoint: Path, manifest: Location, folder: Path) -> None:
    content = read_manifest(manifest)
    split = "validation" if content.splits.validation else "train"
    estimator = FrameSetEstimator.load(checkpoint)
    slots = content.view_slots
    rows = list(itertools.islice(read_split(manifest.parent, content, split), _NUM_INSTANTS))
    joints = estimator.detect(collate(rows, slots, estimator.cascade))
    for index, row in enumerate(rows):
        tiles: list[np.ndarray] = []
        for view in row["views"]:
            crop = decode_image(view["image"])
            keypoints = joints.keypoints_ndc[index, slots[row["take_id"]].index(view["name"])]
            outlined = draw_mask_outline(crop, decode_mask(view["mask"], *crop.shape[:2]))
            pixels = pixel_from_ndc(keypoints.double(), crop.shape[0]).numpy()
            tiles.append(draw_skeleton(outlined, pixels, estimator.skeleton))
        path = folder / f"{row['take_id']}-{row['instant']:06d}.jpg"
        path.write_bytes(encode_image(np.hstack(tiles)))
