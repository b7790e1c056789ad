"""A pool of Ray actors that run Segment Anything for all take workers.

What travels to an actor is a batch of frames reduced to 1024 pixels (once, through the object store) and then a
prompt at a time; back come masks, packed. Embeddings stay where they are made: one is 4 MB. An actor keeps those of
the last batches it was asked about and makes others again from the frames, so every call can be repeated on a fresh
actor, and none has to know what went before.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import ray
from jaxtyping import Float32, UInt8
from ray.exceptions import RayActorError

from mas_ray.config.ingest import SamMasks, SamWorkers
from mas_ray.ingest.masks.sam_image import reduced
from mas_ray.ingest.masks.sam_prompts import Candidates, Images, Prompts
from mas_ray.ingest.rejects import MachineError

if TYPE_CHECKING:
    from mas_ray.ingest.masks.sam_network import SamNetwork  # torch loads in the actors alone

_MAX_BATCHES = 32
"""Whose embeddings an actor keeps: with batches of 8, 1 GB."""


class SamPoolError(MachineError):
    """An actor died each time a call was tried."""


@dataclass(frozen=True, kw_only=True)
class PooledSam:
    """The pool as take workers use it: a ``PromptableModel`` that can be sent to them."""

    actors: tuple[Any, ...]
    batch_size: int

    def encode(self, images_rgb: Images) -> list[PooledFrame]:
        """Hand frames to one of the actors, which encodes them when the first prompt comes."""
        name = uuid.uuid4()
        frames = ray.put([reduced(image) for image in images_rgb])
        actor = self.actors[name.int % len(self.actors)]
        return [
            PooledFrame(
                actor=actor, batch=name.hex, frames=frames, position=i, height=image.shape[0], width=image.shape[1]
            )
            for i, image in enumerate(images_rgb)
        ]


@dataclass(frozen=True, kw_only=True)
class PooledFrame:
    """A frame of a batch that an actor has, or will have, encoded."""

    actor: Any
    batch: str
    frames: Any
    position: int
    height: int
    width: int

    def decode(self, prompts: Prompts) -> Candidates:
        """Answer one prompt.

        Raises:
            SamPoolError: The actor died each time it was asked.
        """
        # In a list the frames travel as a reference alone.
        call = self.actor.decode.remote(
            self.batch, [self.frames], self.position, prompts, height=self.height, width=self.width
        )
        try:
            answer: _Answer = cast(Any, ray).get(call)
        except RayActorError as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise SamPoolError(f"Segment Anything's actor died on frame {self.position} of a batch: {reason}") from None
        masks = np.unpackbits(answer.masks, axis=-1, count=self.width).astype(bool)
        return Candidates(masks=masks, scores=answer.scores, logits=answer.logits)


@contextmanager
def sam_pool(masks: SamMasks, workers: SamWorkers) -> Generator[PooledSam, None, None]:
    """Hold a pool on the connected cluster for the block; it waits until every actor has its network.

    Raises:
        ValueError: The checkpoint cannot be loaded; one line says why.
    """
    with pool_of(partial(_load, masks, workers), workers) as pool:
        yield pool


@contextmanager
def pool_of(load: Callable[[], SamNetwork], workers: SamWorkers) -> Generator[PooledSam, None, None]:
    """The pool whose actors each call ``load`` for their network."""
    remote = cast(
        Any,
        ray.remote(
            num_cpus=workers.cpus_each,
            num_gpus=workers.gpus_each,
            max_restarts=-1,
            max_task_retries=workers.max_attempts - 1,
        ),
    )(_Actor)
    actors = tuple(remote.remote(load) for _ in range(workers.num))
    try:
        complaints: list[str | None] = cast(Any, ray).get([actor.complaint.remote() for actor in actors])
        if complaint := next(filter(None, complaints), None):
            raise ValueError(complaint)
        yield PooledSam(actors=actors, batch_size=workers.batch_size)
    finally:
        for actor in actors:
            ray.kill(actor)


def _load(masks: SamMasks, workers: SamWorkers) -> SamNetwork:
    from mas_ray.ingest.masks.sam_network import load_network

    return load_network(masks, batch_size=workers.batch_size, compile_encoder=workers.compile)


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """Candidates with their masks packed, eight pixels of a row to the byte."""

    masks: UInt8[np.ndarray, "candidates height bytes"]
    scores: Float32[np.ndarray, " candidates"]
    logits: Float32[np.ndarray, "candidates low low"]


class _Actor:
    """One network and the embeddings of the batches that were asked about last."""

    def __init__(self, load: Callable[[], SamNetwork]) -> None:
        self._load = load
        self._network: SamNetwork | None = None
        self._embeddings: OrderedDict[str, list[Any]] = OrderedDict()

    def complaint(self) -> str | None:
        """Load the network; says in one line why it cannot be."""
        try:
            self._loaded()
        except (ValueError, OSError) as error:
            return str(error)
        return None

    def decode(
        self, batch: str, frames: Sequence[Any], position: int, prompts: Prompts, *, height: int, width: int
    ) -> _Answer:
        network = self._loaded()
        if batch not in self._embeddings:
            self._embeddings[batch] = network.embed(cast(Any, ray).get(frames[0]))
        self._embeddings.move_to_end(batch)
        while len(self._embeddings) > _MAX_BATCHES:
            self._embeddings.popitem(last=False)
        found = network.decode(self._embeddings[batch][position], prompts, height=height, width=width)
        return _Answer(masks=np.packbits(found.masks, axis=-1), scores=found.scores, logits=found.logits)

    def _loaded(self) -> SamNetwork:
        if self._network is None:
            self._network = self._load()
        return self._network
