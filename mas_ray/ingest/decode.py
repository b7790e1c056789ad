"""Videos and provided masks, frame by frame: upright, undistorted, numbered by their timestamps.

A frame's number is the rank of its presentation time in the video, so a frame that does not decode leaves a hole
and never shifts the frames after it against the other cameras.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from mas_ray.corpora.take import Calibration, Clip
from mas_ray.ingest.rejects import BadTakeError

Image = UInt8[np.ndarray, "height width 3"]
Mask = Bool[np.ndarray, "height width"]


_MACHINE_ERRORS = {errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT}


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a video's container says, after its rotation."""

    width_px: int
    height_px: int
    frames_per_s: Fraction
    num_frames: int


def probe(clip: Clip) -> VideoInfo:
    """Size, rate and length of a clip's video.

    Raises:
        BadTakeError: The file is not a video (``unreadable_video``), or its size is not that of the calibration
            (``mismatched_size``).
    """
    info = _probe_video(clip.video)
    calibration = clip.calibration
    if calibration and (info.width_px, info.height_px) != (calibration.width_px, calibration.height_px):
        raise BadTakeError(
            "mismatched_size",
            f"view {clip.view}, {Path(clip.video).name}: the video is {info.width_px}x{info.height_px} px, "
            f"its calibration is of {calibration.width_px}x{calibration.height_px} px",
        )
    return info


def estimate_num_frames(clip: Clip) -> int:
    """The number of frames that a clip's header claims, 0 if it says nothing; for progress and disk estimates."""
    try:
        with av.open(clip.video) as container:
            stream = container.streams.video[0]
            if stream.frames or not container.duration or not stream.average_rate:
                return stream.frames
            return round(container.duration / av.time_base * stream.average_rate)
    except (av.error.FFmpegError, OSError, IndexError):
        return 0


def read_frames(clip: Clip, frames: Sequence[int]) -> Iterator[tuple[int, Image | None]]:
    """The wanted frames of a clip in order, upright and undistorted RGB; None for one that does not decode.

    One frame is held at a time. ``frames`` must increase.

    Raises:
        BadTakeError: The file is not a video (``unreadable_video``).
    """
    undistort = _undistortion(clip.calibration, cv2.INTER_LINEAR)
    for frame, image in _read_video(clip.video, frames, "rgb24"):
        yield frame, None if image is None else undistort(image)


def sample_frames(clip: Clip, num: int, *, frames: Sequence[int]) -> list[Image]:
    """At most ``num`` of the given frames that decode, evenly spread over them."""
    if num < len(frames):
        frames = [frames[i] for i in np.linspace(0, len(frames) - 1, num).round().astype(int)]
    return [image for _, image in read_frames(clip, frames) if image is not None]


def read_background(clip: Clip) -> Image | None:
    """The picture of the empty scene, undistorted like the frames; None if the clip has none.

    Raises:
        BadTakeError: It does not decode or has another size than the video (``unreadable_background``).
    """
    if clip.background is None:
        return None
    bgr = cv2.imread(clip.background, cv2.IMREAD_COLOR)
    where = f"view {clip.view}, {Path(clip.background).name}"
    if bgr is None:
        raise BadTakeError("unreadable_background", f"{where}: not a readable picture")
    info = probe(clip)
    if bgr.shape[:2] != (info.height_px, info.width_px):
        raise BadTakeError(
            "unreadable_background",
            f"{where}: the picture is {bgr.shape[1]}x{bgr.shape[0]} px, the video {info.width_px}x{info.height_px} px",
        )
    return _undistortion(clip.calibration, cv2.INTER_LINEAR)(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8))


def provided_masks(clip: Clip, frames: Sequence[int]) -> Callable[[int], Mask | None]:
    """Access to the masks beside a video, in increasing order of frames, undistorted (nearest pixel).

    The function returned takes a frame number and gives its mask; None where there is none or it does not decode.

    Raises:
        BadTakeError: The clip has no masks or they have another size than the video (``unreadable_masks``).
    """
    if clip.masks is None or not Path(clip.masks).exists():
        raise BadTakeError("unreadable_masks", f"view {clip.view}: the take provides no masks")
    info = probe(clip)
    undistort = _undistortion(clip.calibration, cv2.INTER_NEAREST)
    stream = _read_mask_folder(Path(clip.masks), frames) if Path(clip.masks).is_dir() else None
    stream = stream or _read_video(clip.masks, frames, "gray")

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


def _read_mask_folder(folder: Path, frames: Sequence[int]) -> Iterator[tuple[int, np.ndarray | None]]:
    for frame in frames:
        path = folder / f"{frame:06d}.png"
        yield frame, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None


def _undistortion(calibration: Calibration | None, interpolation: int) -> Callable[[np.ndarray], np.ndarray]:
    """The map from a frame to its undistorted version, which has the same K."""
    if calibration is None or not calibration.distortion.any():
        return lambda image: image
    size = (calibration.width_px, calibration.height_px)
    K = calibration.K
    maps = cv2.initUndistortRectifyMap(K, calibration.distortion, np.eye(3), K, size, cv2.CV_32FC1)
    return lambda image: cv2.remap(image, maps[0], maps[1], interpolation)


def _probe_video(video: str) -> VideoInfo:
    try:
        with av.open(video) as container:
            if not container.streams.video:
                raise BadTakeError("unreadable_video", f"{Path(video).name}: holds no video stream")
            stream = container.streams.video[0]
            rate, declared = stream.average_rate, stream.frames
        first = next(_decode(video), None)
        if first is None or not rate:
            raise BadTakeError("unreadable_video", f"{Path(video).name}: no frame decodes")
        times, num_hidden = _presentation_times(video)
    except (av.error.FFmpegError, OSError) as error:
        _raise_if_the_machines(error)
        raise _unreadable(video, error) from None
    size = (first.height, first.width) if first.rotation % 180 else (first.width, first.height)
    return VideoInfo(
        width_px=size[0],
        height_px=size[1],
        frames_per_s=Fraction(rate),
        num_frames=max(declared - num_hidden, len(times)),
    )


def _raise_if_the_machines(error: Exception) -> None:
    """Raise an error that is the machine's fault and may be gone tomorrow: it says nothing of the video."""
    if isinstance(error, OSError) and error.errno in _MACHINE_ERRORS:
        raise error


def _unreadable(video: str, error: Exception) -> BadTakeError:
    reason = getattr(error, "strerror", None) or type(error).__name__
    return BadTakeError("unreadable_video", f"{Path(video).name}: not a readable video: {reason}")


def _presentation_times(video: str) -> tuple[list[int], int]:
    """Presentation times of the frames that the file still holds, in order, and the number of hidden frames.

    Hidden are frames cut away by the container's edit list. Nothing is decoded.
    """
    times: list[int] = []
    num_hidden = 0
    with av.open(video) as container:
        try:
            for packet in container.demux(video=0):
                num_hidden += packet.is_discard
                if packet.pts is not None and packet.size and not packet.is_discard:
                    times.append(packet.pts)
        except av.error.FFmpegError as error:
            _raise_if_the_machines(error)  # otherwise a truncated file ends here
    return sorted(times), num_hidden


def _read_video(video: str, frames: Sequence[int], pixel_format: str) -> Iterator[tuple[int, np.ndarray | None]]:
    try:
        number_of = {pts: number for number, pts in enumerate(_presentation_times(video)[0])}
        decoded = _decode(video)
        number, image = -1, None
        for wanted in frames:
            while number < wanted:
                image = next(decoded, None)
                if image is None:
                    break
                # Containers without presentation times (AVI) leave nothing but counting.
                number = number_of.get(image.pts or 0, number) if number_of else number + 1
            yield wanted, _upright(image, pixel_format) if image is not None and number == wanted else None
    except (av.error.FFmpegError, OSError) as error:
        _raise_if_the_machines(error)
        raise _unreadable(video, error) from None


def _decode(video: str) -> Iterator[av.VideoFrame]:
    """Frames in presentation order. After damage, none until the next key frame: they would build on it."""
    with av.open(video) as container:
        stream = container.streams.video[0]
        # One thread per video: takes and views already run side by side, and errors fall on the same packet always.
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"err_detect": "explode"}
        damaged = False
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                if damaged and not packet.is_keyframe:
                    continue
                damaged = False
                decoded = packet.decode()
            except av.error.FFmpegError as error:
                _raise_if_the_machines(error)
                damaged = True
                stream.codec_context.flush_buffers()
                continue
            yield from (frame for frame in decoded if not frame.is_corrupt)


def _upright(frame: av.VideoFrame, pixel_format: str) -> np.ndarray:
    pixels = frame.to_ndarray(format=pixel_format)
    return np.ascontiguousarray(np.rot90(pixels, k=round(frame.rotation / 90)))
