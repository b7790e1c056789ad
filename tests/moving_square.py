"""Tiny corpora for the tests of ingest: a bright figure that moves over a dark floor, masks provided."""

import json
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT, RATE = 96, 72, 25


def write_video(path: Path, images: list[np.ndarray], *, rate: int = RATE, key_every: int = 6) -> Path:
    """H.264 of near-lossless quality whose index stands at the front, so that it survives truncation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = images[0].shape[:2]
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "4", "g": str(key_every)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def figure_mask(frame: int, view: int) -> np.ndarray:
    """An upright 16 x 40 px figure; empty in frame 3 of view 0."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    left = 10 + 2 * (frame % 30) + 5 * view
    mask[16:56, left : left + 16] = True
    return mask if (frame, view) != (3, 0) else np.zeros_like(mask)


def picture(frame: int, view: int) -> np.ndarray:
    """The figure on a floor of low contrast; the frame number is its brightness."""
    image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    image[figure_mask(frame, view)] = 100 + 5 * (frame % 30)
    return image


def write_take(folder: Path, *, num_frames: int = 8, num_views: int = 2, subject: str = "someone") -> Path:
    """A calibrated take with provided masks."""
    cameras = {}
    for view in range(num_views):
        name = f"cam{view}"
        write_video(folder / "videos" / f"{name}.mp4", [picture(i, view) for i in range(num_frames)])
        masks = [np.repeat(figure_mask(i, view)[..., None] * np.uint8(255), 3, axis=2) for i in range(num_frames)]
        write_video(folder / "masks" / f"{name}.mp4", masks)
        cameras[name] = {
            "name": name,
            "size": [WIDTH, HEIGHT],
            "matrix": [[90.0, 0.0, 47.5], [0.0, 90.0, 35.5], [0.0, 0.0, 1.0]],
            "distortions": [0.0, 0.0, 0.0, 0.0],
            "rotation": [0.0, 0.3 * view, 0.0],
            "translation": [0.1 * view, 0.0, 3.0],
        }
    (folder / "calibration").mkdir()
    (folder / "calibration" / "cameras.json").write_text(json.dumps({"cameras": cameras}))
    (folder / "take.json").write_text(json.dumps({"subject": subject, "action": "walk"}))
    return folder
