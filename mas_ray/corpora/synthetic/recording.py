"""Records synthetic takes and writes them as a plain folder corpus, through the same door as real video."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from jaxtyping import Bool, Float64, UInt8

from mas_ray.annotations import ReferenceJoints, write_reference
from mas_ray.config import codec
from mas_ray.corpora.calibration_files import write_calibrations
from mas_ray.corpora.layout import TakeDescription
from mas_ray.corpora.synthetic.body import PosedBody, Proportions, pose, random_proportions
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.figure import Appearance, figure, random_appearance
from mas_ray.corpora.synthetic.poses import ACTIONS, movement
from mas_ray.corpora.synthetic.rasteriser import draw, pixel_rays
from mas_ray.corpora.synthetic.scene import random_cameras, random_room
from mas_ray.corpora.take import Calibration

REFERENCE_SOURCE = "exact (synthetic)"
_CONFIG_FILE = "synthetic.json"
_GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
_X264 = {"preset": "veryfast", "crf": "16"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """Everything that is known of one take before it is drawn."""

    subject: str
    action: str
    cameras: dict[str, Calibration]
    backgrounds: dict[str, UInt8[np.ndarray, "height width 3"]]
    proportions: Proportions
    appearance: Appearance
    body: PosedBody
    light: Float64[np.ndarray, " 3"]
    """Unit vector towards the light, world frame."""

    @property
    def num_instants(self) -> int:
        """How long the take is."""
        return len(self.body.joints_world_mm)


def write_corpus(root: Path, config: SyntheticConfig, *, progress: Callable[[int, int], None] | None = None) -> None:
    """Write the takes that are not there yet; a folder corpus that ``corpora.folder`` reads.

    A take appears under its name when it is complete, so an interrupted call is simply repeated.

    Args:
        root: The corpus folder; made if need be.
        config: What to write. The folder remembers it.
        progress: Told (takes done, takes in all) after each take.

    Raises:
        ValueError: The folder holds a corpus of another config.
    """
    _claim(root, config)
    numbers = [(subject, take) for subject in range(config.num_subjects) for take in range(config.takes_per_subject)]
    for done, (subject, take) in enumerate(numbers, start=1):
        _write_take(root, config, subject, take)
        if progress is not None:
            progress(done, len(numbers))


def record(config: SyntheticConfig, subject: int, take: int) -> Recording:
    """Invent a take: the subject's proportions, and this take's action, clothes, cameras, room and light."""
    body_rng = np.random.default_rng([config.seed, subject])
    rng = np.random.default_rng([config.seed, subject, take, 1])
    proportions = random_proportions(body_rng)
    action = _action(subject, take)
    cameras = random_cameras(config, rng)
    # Multiples of the golden angle: even a few takes look every way round.
    direction = _GOLDEN_ANGLE * (config.seed + subject * config.takes_per_subject + take)
    angles = movement(action, config.instants_per_take, fps=config.fps, direction=direction, rng=rng)
    light = np.array([*rng.uniform(-0.6, 0.6, size=2), 1.0])
    return Recording(
        subject=f"s{subject:02d}",
        action=action,
        cameras=cameras,
        backgrounds=random_room(cameras, rng),
        proportions=proportions,
        appearance=random_appearance(rng, front_cue=config.front_cue),
        body=pose(proportions, angles),
        light=light / np.linalg.norm(light),
    )


def frames(
    recording: Recording, camera: str
) -> Iterator[tuple[UInt8[np.ndarray, "height width 3"], Bool[np.ndarray, "height width"]]]:
    """The take as one camera sees it: image (RGB) and exact mask, instant by instant."""
    calibration = recording.cameras[camera]
    rays = pixel_rays(calibration)
    for instant in range(recording.num_instants):
        person = figure(recording.body.at(instant), recording.proportions, recording.appearance)
        yield draw(
            person.seen_by(calibration),
            rays,
            K=calibration.K,
            light=calibration.R @ recording.light,
            background=recording.backgrounds[camera],
        )


def _action(subject: int, take: int) -> str:
    """Subjects go through the actions in order, each from another one on."""
    return ACTIONS[(subject + take) % len(ACTIONS)]


def _claim(root: Path, config: SyntheticConfig) -> None:
    """Note the config in the corpus folder, or find the same one there."""
    root.mkdir(parents=True, exist_ok=True)
    path, text = root / _CONFIG_FILE, codec.dumps(config)
    if path.exists():
        if path.read_text(encoding="utf-8") != text:
            raise ValueError(f"{path}: this corpus was made with another config; choose another folder")
        return
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _write_take(root: Path, config: SyntheticConfig, subject: int, take: int) -> None:
    folder = root / f"s{subject:02d}_t{take:02d}_{_action(subject, take)}"
    if (folder / "take.json").exists():
        return
    partial = root / f".{folder.name}.partial"
    for unfinished in (partial, folder):
        if unfinished.exists():
            shutil.rmtree(unfinished)
    recording = record(config, subject, take)
    for camera in recording.cameras:
        _write_view(partial, recording, camera, config)
    write_calibrations(partial / "calibration" / "cameras.json", recording.cameras)
    joints = recording.body.joints_world_mm
    reference = ReferenceJoints(
        instants=np.arange(len(joints), dtype=np.int64),
        joints_world_mm=joints,
        valid=np.ones(joints.shape[:2], dtype=bool),
        source=REFERENCE_SOURCE,
    )
    write_reference(partial / "reference.parquet", reference)
    description = TakeDescription(subject=recording.subject, action=recording.action)
    (partial / "take.json").write_text(codec.dumps(description), encoding="utf-8")
    partial.rename(folder)


def _write_view(folder: Path, recording: Recording, camera: str, config: SyntheticConfig) -> None:
    """One camera's video, background and, if asked for, masks."""
    _write_png(folder / "backgrounds" / f"{camera}.png", recording.backgrounds[camera][..., ::-1])
    video = folder / "videos" / f"{camera}.mp4"
    video.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(config.fps), options=_X264)
        stream.width, stream.height, stream.pix_fmt = config.width_px, config.height_px, "yuv420p"
        stream.codec_context.thread_count = 1  # more threads, other bytes
        for instant, (image, mask) in enumerate(frames(recording, camera)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            if config.write_masks:
                _write_png(folder / "masks" / camera / f"{instant:06d}.png", mask.astype(np.uint8) * 255)
        container.mux(stream.encode())


def _write_png(path: Path, image_bgr: UInt8[np.ndarray, "height width *channels"]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", image_bgr)[1].tobytes())
