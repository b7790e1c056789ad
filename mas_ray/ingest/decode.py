"""The videos of a clip, frame by frame: upright and undistorted, decoded in processes of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from mas_ray.config.ingest import DecodeLimits
from mas_ray.corpora.take import Calibration, Clip
from mas_ray.ingest.decoder_process import DecoderProcess
from mas_ray.ingest.masks.human36m import read_matlab_masks
from mas_ray.ingest.masks.mpi_inf_3dhp import read_studio_masks
from mas_ray.ingest.rejects import BadTakeError
from mas_ray.ingest.video import VideoInfo

Image = UInt8[np.ndarray, "height width 3"]
Mask = Bool[np.ndarray, "height width"]


@contextlib.contextmanager
def open_clip(clip: Clip, limits: DecodeLimits) -> Generator[ClipSource, None, None]:
    """Open a clip's video in a process of its own, which ends with the context.

    Raises:
        BadTakeError: The file is not a video that can be used, see ``video.open_video``; its size is not that of the
            calibration (``mismatched_size``); or its decoder crashed (``decoder_crashed``), took too long
            (``decode_timeout``) or too much memory (``decode_memory``). All but the size may show later, too.
        OSError: The machine's fault, not the clip's.
    """
    with contextlib.ExitStack() as processes:

        def open_another(path: str) -> DecoderProcess:
            return processes.enter_context(DecoderProcess(path, limits, frames_per_s=clip.frames_per_s))

        video = open_another(clip.video)
        _check_calibrated_size(clip, video.info)
        yield ClipSource(clip, video, open_another=open_another)


class ClipSource:
    """An open clip. One stream of its frames is read at a time; to begin another is to leave the one before.

    Whoever reads it shot by shot, each shot sampled before its frames are read, has it decoded twice in all, however
    many shots there are.

    Attributes:
        info: Size, rate, length and times of the video.
    """

    def __init__(self, clip: Clip, video: DecoderProcess, *, open_another: Callable[[str], DecoderProcess]) -> None:
        self.info = video.info
        self._clip, self._video, self._open_another = clip, video, open_another
        self._has_been_read = False
        self._sampled: DecoderProcess | None = None
        self._masks: DecoderProcess | None = None
        self._chair_masks: DecoderProcess | None = None

    def frames(self, numbers: Sequence[int]) -> Iterator[tuple[int, Image | None]]:
        """The frames of increasing numbers, upright and undistorted RGB; None for one that does not decode.

        Raises:
            BadTakeError: See ``open_clip``; or a frame has another size than the first (``changing_size``).
        """
        self._has_been_read = True
        return self._undistorted(self._video, numbers)

    def sample(self, num: int, *, frames: Sequence[int]) -> list[Image]:
        """At most ``num`` of the given frames that decode, evenly spread over them."""
        if num < len(frames):
            frames = [frames[i] for i in np.linspace(0, len(frames) - 1, num).round().astype(int)]
        if self._has_been_read and self._sampled is None:  # a process of its own, so that the frames' stream may go on
            self._sampled = self._open_another(self._clip.video)
        return [image for _, image in self._undistorted(self._sampled or self._video, frames) if image is not None]

    def _undistorted(self, video: DecoderProcess, numbers: Sequence[int]) -> Iterator[tuple[int, Image | None]]:
        undistort = _undistortion(self._clip.calibration, cv2.INTER_LINEAR)
        for number, image in video.frames(numbers):
            yield number, None if image is None else undistort(image)

    def small_frames(self, numbers: Sequence[int], *, size_px: int) -> Iterator[tuple[int, Image | None]]:
        """Like ``frames``, for looking at: the shorter side is ``size_px`` at most, lens distortion remains."""
        return self._video.small_frames(numbers, size_px=size_px)

    def background(self) -> Image | None:
        """The picture of the empty scene, undistorted like the frames; None if the clip has none.

        Raises:
            BadTakeError: It does not decode or has another size than the video (``unreadable_background``).
        """
        clip, info = self._clip, self.info
        if clip.background is None:
            return None
        bgr = _read_picture(Path(clip.background), cv2.IMREAD_COLOR)
        where = f"view {clip.view}, {Path(clip.background).name}"
        if bgr is None:
            raise BadTakeError("unreadable_background", f"{where}: not a readable picture")
        if bgr.shape[:2] != (info.height_px, info.width_px):
            raise BadTakeError(
                "unreadable_background",
                f"{where}: the picture is {bgr.shape[1]}x{bgr.shape[0]} px, "
                f"the video {info.width_px}x{info.height_px} px",
            )
        return _undistortion(clip.calibration, cv2.INTER_LINEAR)(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8))

    def masks(self, numbers: Sequence[int]) -> Callable[[int], Mask | None]:
        """Access to the masks beside the video, in increasing order of frames, undistorted (nearest pixel).

        The function returned takes a frame number and gives its mask; None where there is none or it does not decode.

        Raises:
            BadTakeError: The clip has no masks or they have another size than the video (``unreadable_masks``); or
                see ``open_clip``.
        """
        clip, info = self._clip, self.info
        if clip.masks is None or not Path(clip.masks).exists():
            raise BadTakeError("unreadable_masks", f"view {clip.view}: the take provides no masks")
        undistort = _undistortion(clip.calibration, cv2.INTER_NEAREST)
        if clip.chair_masks is not None:
            self._masks = self._masks or self._open_another(clip.masks)
            self._chair_masks = self._chair_masks or self._open_another(clip.chair_masks)
            stream = read_studio_masks(self._masks.frames, self._chair_masks.frames, numbers)
        elif Path(clip.masks).is_dir() and not Path(clip.video).is_dir():
            stream = _read_mask_folder(Path(clip.masks), numbers)
        elif Path(clip.masks).suffix.lower() == ".mat":
            stream = read_matlab_masks(Path(clip.masks), numbers, max_pixels=info.width_px * info.height_px)
        else:
            self._masks = self._masks or self._open_another(clip.masks)
            stream = self._masks.frames(numbers, pixel_format="gray")

        def mask_of(frame: int) -> Mask | None:
            grey = next((grey for number, grey in stream if number == frame), None)
            if grey is None:
                return None
            if grey.shape != (info.height_px, info.width_px):
                raise BadTakeError(
                    "unreadable_masks",
                    f"view {clip.view}: the mask of frame {frame} is {grey.shape[1]}x{grey.shape[0]} px, "
                    f"the video {info.width_px}x{info.height_px} px",
                )
            return undistort(grey) >= 128

        return mask_of


def _check_calibrated_size(clip: Clip, info: VideoInfo) -> None:
    calibration = clip.calibration
    if calibration and (info.width_px, info.height_px) != (calibration.width_px, calibration.height_px):
        raise BadTakeError(
            "mismatched_size",
            f"view {clip.view}, {Path(clip.video).name}: the video is {info.width_px}x{info.height_px} px, "
            f"its calibration is of {calibration.width_px}x{calibration.height_px} px",
        )


def _read_mask_folder(folder: Path, frames: Sequence[int]) -> Iterator[tuple[int, np.ndarray | None]]:
    for frame in frames:
        path = folder / f"{frame:06d}.png"
        yield frame, _read_picture(path, cv2.IMREAD_GRAYSCALE) if path.is_file() else None


def _read_picture(path: Path, flags: int) -> np.ndarray | None:
    """A picture as OpenCV reads it; None for one that does not decode."""
    try:
        return cv2.imread(str(path), flags)
    except cv2.error:  # its header claims more pixels than OpenCV takes
        return None


def _undistortion(calibration: Calibration | None, interpolation: int) -> Callable[[np.ndarray], np.ndarray]:
    """The map from a frame to its undistorted version, which has the same K."""
    if calibration is None or not calibration.distortion.any():
        return lambda image: image
    size = (calibration.width_px, calibration.height_px)
    K = calibration.K
    maps = cv2.initUndistortRectifyMap(K, calibration.distortion, np.eye(3), K, size, cv2.CV_32FC1)
    return lambda image: cv2.remap(image, maps[0], maps[1], interpolation)
