"""The HTTP service: what a request may be, what the answer looks like, and the Ray Serve deployment that gives it.

::

    POST /v1/poses    a picture (image/jpeg, image/png, image/webp) or a short clip (video/mp4, ...) as the body
    GET  /v1/model    the checkpoint and its joints
    GET  /openapi.json

Nobody is asked who they are; the service is for this machine or for a proxy that asks.
"""

# Annotations are not put off here: FastAPI reads them where the class was sent, and the names are not there.
import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field
from ray import serve

from mas_ray import __version__
from mas_ray.config.jobs import ServeJob, UploadLimits
from mas_ray.ingest.rejects import BadTakeError
from mas_ray.ingest.upload import Frames, RefusedUploadError, decode_clip, decode_picture
from mas_ray.pipelines.pose_estimator import FoundPerson, PersonPose, PoseEstimator

_PICTURES = ("image/jpeg", "image/png", "image/webp")
_CLIPS = ("video/mp4", "video/quicktime", "video/webm", "video/x-matroska", "video/x-msvideo")
_BATCH = 16
_BATCH_WAIT_S = 0.01


class Person(BaseModel):
    """The largest person in a picture."""

    box_px: list[float] = Field(description="Left, top, width and height of the mask")
    keypoints_px: list[list[float]] = Field(description="x, y of each joint; (0, 0) is the centre of the first pixel")
    confidence: list[float] = Field(description="Of each joint, 0 to 1")
    joints_camera_mm: list[list[float]] | None = Field(
        description="x right, y down, z away about the pelvis, as large as a person of 1.7 m; null if no scale fits"
    )


class Frame(BaseModel):
    """One picture, or one frame of a clip."""

    time_s: float
    person: Person | None = Field(description="null where nobody is")


class Poses(BaseModel):
    """The answer."""

    joints: list[str] = Field(description="Names along every joints axis")
    frames: list[Frame]


class Model(BaseModel):
    """What answers."""

    checkpoint: str
    mas_ray: str
    joints: list[str]


_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "It is damaged, or not what its type says"},
    413: {"description": "It is larger than the limits of the service"},
    415: {"description": "It is neither a picture nor a clip"},
    503: {"description": "Too many requests wait; try again later"},
}
app = FastAPI(title="mas-ray", version=__version__, docs_url=None, redoc_url=None)  # those pages fetch scripts


class PoseService:
    """A replica: networks, and as many requests as it is told to take on at a time."""

    def __init__(self, estimator: Sequence[Any], job: ServeJob, checkpoint: str) -> None:
        """Get the networks, a reference to which is in a list so that it stays one."""
        import ray

        torch.set_num_threads(max(1, int(job.workers.cpus_each)))
        networks = cast(Any, ray).get(estimator[0])
        if job.workers.gpus_each:
            networks.to(torch.device("cuda"))
        self._estimator = PoseEstimator(networks, job.masks)
        self._limits = job.limits
        self._checkpoint = checkpoint
        self._one_clip = asyncio.Lock()  # a clip's frames fill memory

    @app.get("/v1/model")
    async def model(self) -> Model:
        """What answers, once it does."""
        return Model(checkpoint=self._checkpoint, mas_ray=__version__, joints=list(self._estimator.joints))

    @app.post(
        "/v1/poses",
        responses=_REFUSALS,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _PICTURES + _CLIPS},
            }
        },
    )
    async def poses(self, request: Request) -> Poses:
        """The pose of the largest person in a picture, or in every frame of a short clip."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _PICTURES + _CLIPS:
            raise HTTPException(415, f"expected one of {', '.join(_PICTURES + _CLIPS)}, got {kind or 'no type'}")
        data = await _body(request, self._limits)
        try:
            if kind in _PICTURES:
                frames = await asyncio.to_thread(
                    decode_picture, data, max_pixels=int(self._limits.max_picture_megapixels * 1e6)
                )
                return await self._answer(frames)
            async with self._one_clip:
                return await self._answer(await asyncio.to_thread(_decoded_clip, data, self._limits))
        except RefusedUploadError as error:
            raise HTTPException(413 if error.is_too_large else 400, str(error)) from None
        except BadTakeError as error:
            raise HTTPException(400, f"nobody can be sought in it: {error.reason}") from None

    async def _answer(self, frames: Frames) -> Poses:
        found = await asyncio.to_thread(self._estimator.find, frames.images)
        people = [person for person in found if person is not None]
        # Ray's decorator makes a function of a list into one of an item, which its annotation does not tell.
        poses = iter(await cast(Any, self._of_requests)(people)) if people else iter(())
        return Poses(
            joints=list(self._estimator.joints),
            frames=[
                Frame(time_s=float(time_s), person=None if person is None else _told(next(poses)))
                for person, time_s in zip(found, frames.times_s, strict=True)
            ],
        )

    @serve.batch(max_batch_size=_BATCH, batch_wait_timeout_s=_BATCH_WAIT_S)
    async def _of_requests(self, requests: list[list[FoundPerson]]) -> list[list[PersonPose]]:
        """The people of several requests, asked of the networks together."""
        poses = iter(await asyncio.to_thread(self._estimator.poses, [each for people in requests for each in people]))
        return [[next(poses) for _ in people] for people in requests]


deployment: Any = serve.deployment(name="poses")(serve.ingress(app)(PoseService))
"""What Ray Serve runs."""


async def _body(request: Request, limits: UploadLimits) -> bytes:
    """The body, of which no more is kept than may be sent, whatever its header says."""
    max_bytes = int(limits.max_mb * 1e6)
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > max_bytes:
            raise HTTPException(413, f"more than {limits.max_mb:g} MB")
    return bytes(data)


def _decoded_clip(data: bytes, limits: UploadLimits) -> Frames:
    with tempfile.NamedTemporaryFile(prefix="mas-ray-", suffix=".clip") as file:
        file.write(data)
        file.flush()
        return decode_clip(
            Path(file.name),
            max_pixels=int(limits.max_picture_megapixels * 1e6),
            max_frames=limits.max_clip_frames,
            max_pixels_in_all=int(limits.max_clip_megapixels * 1e6),
        )


def _told(pose: PersonPose) -> Person:
    rows, columns = (np.flatnonzero(pose.mask.any(axis)) for axis in (1, 0))
    left, top = float(columns[0]), float(rows[0])
    return Person(
        box_px=[left, top, float(columns[-1]) - left + 1.0, float(rows[-1]) - top + 1.0],
        keypoints_px=pose.keypoints_px.tolist(),
        confidence=pose.confidence.tolist(),
        joints_camera_mm=None if pose.joints_camera_mm is None else pose.joints_camera_mm.tolist(),
    )
