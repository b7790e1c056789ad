"""Mean IoU of every mask method that needs no SAM checkpoint, on frames with hand-made masks.

Frames are JPEG files of one folder in the order of their names, masks the PNG files of another (not 0: the person),
as in DAVIS. Every method finds the person on its own.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mas_ray import assets
from mas_ray.config.ingest import (
    BackgroundMasks,
    ChromaKeyMasks,
    GraphCutMasks,
    MaskConfig,
    MotionMasks,
    SelfieMasks,
)
from mas_ray.ingest.masks.create import create_view_masker
from mas_ray.ingest.rejects import BadTakeError

METHODS: dict[str, MaskConfig] = {
    "selfie": SelfieMasks(),
    "selfie, no graph cut": SelfieMasks(refine_with_graph_cut=False),
    "background median": BackgroundMasks(),
    "Gaussian mixture": BackgroundMasks(plate="mixture"),
    "motion": MotionMasks(),
    "graph cut, motion box": GraphCutMasks(),
    "graph cut, selfie box": GraphCutMasks(seed=SelfieMasks(refine_with_graph_cut=False)),
    "chroma key": ChromaKeyMasks(),
}


def main() -> None:
    """Print one line per method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("frames", type=Path)
    parser.add_argument("masks", type=Path)
    parser.add_argument("--model", type=Path, help="the selfie network's file; by default the pinned asset is fetched")
    parser.add_argument("--csv", type=Path, help="write IoU, recall and precision of every frame and method")
    parser.add_argument("--overlays", type=Path, help="folder for pictures: green hit, red too much, blue missed")
    flags = parser.parse_args()
    cv2.setNumThreads(1)
    model = flags.model or assets.fetch(assets.SELFIE_SEGMENTATION) / assets.SELFIE_SEGMENTATION.members[0].name
    frames, truths = _read(flags.frames, flags.masks)
    rows: list[tuple[str, int, float, float, float]] = []
    print(f"{'method':24} {'IoU':>6} {'recall':>7} {'precision':>10} {'start, s':>9} {'ms/frame':>9}")
    for name, config in METHODS.items():
        started = time.process_time()
        try:
            masker = create_view_masker(
                config,
                selfie_model=model,
                sample_frames=lambda num: [frames[i] for i in np.linspace(0, len(frames) - 1, num).round().astype(int)],
                background=None,
                provided=None,
            )
        except BadTakeError as error:
            print(f"{name:24} does not apply: {error}")
            continue
        ready = time.process_time()
        found = [masker(frame, number) for number, frame in enumerate(frames)]
        done = time.process_time()
        masks = [np.zeros_like(t) if f is None else f.mask for f, t in zip(found, truths, strict=True)]
        scores = [_scores(mask, truth) for mask, truth in zip(masks, truths, strict=True)]
        iou, recall, precision = np.mean(scores, axis=0)
        cost = f"{ready - started:9.1f} {(done - ready) / len(frames) * 1e3:9.0f}"
        print(f"{name:24} {iou:6.3f} {recall:7.3f} {precision:10.3f} {cost}", flush=True)
        rows += [(name, number, *score) for number, score in enumerate(scores)]
        if flags.overlays:
            _write_overlays(flags.overlays / name.replace(", ", "_").replace(" ", "_"), frames, masks, truths)
    if flags.csv:
        with flags.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("method", "frame", "iou", "recall", "precision"), *rows])


def _read(frames: Path, masks: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    images, truths = sorted(frames.glob("*.jpg")), sorted(masks.glob("*.png"))
    if not images or [path.stem for path in images] != [path.stem for path in truths]:
        raise SystemExit(f"{frames}, {masks}: expected <name>.jpg and as many <name>.png of the same names")
    return [_picture(path)[..., ::-1].copy() for path in images], [_picture(path).max(axis=-1) > 0 for path in truths]


def _picture(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise SystemExit(f"{path}: not a readable picture")
    return image


def _scores(mask: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Intersection over union, recall and precision; 0 where nothing was found."""
    both = int((mask & truth).sum())
    return both / max(1, int((mask | truth).sum())), both / max(1, int(truth.sum())), both / max(1, int(mask.sum()))


def _write_overlays(
    folder: Path, frames: Sequence[np.ndarray], masks: Sequence[np.ndarray], truths: Sequence[np.ndarray]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, (frame, mask, truth) in enumerate(zip(frames, masks, truths, strict=True)):
        picture = frame.copy()
        for where, colour in ((mask & truth, (0, 255, 0)), (mask & ~truth, (255, 0, 0)), (truth & ~mask, (0, 80, 255))):
            picture[where] = picture[where] // 2 + np.array(colour, np.uint8) // 2
        cv2.imwrite(str(folder / f"{number:06d}.jpg"), picture[..., ::-1])


if __name__ == "__main__":
    main()
