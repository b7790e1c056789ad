"""Segment Anything's network: checkpoints, the image encoder in batches, prompts decoded from its embeddings.

What goes in and what comes out is what ``segment_anything.SamPredictor`` makes of it; that class holds one image at a
time and encodes it alone.
"""

from __future__ import annotations

import contextlib
import functools
import pickle
import threading
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam
from torch import Tensor

from mas_ray.config.ingest import SamMasks
from mas_ray.ingest.masks.sam_checkpoint import local_checkpoint
from mas_ray.ingest.masks.sam_image import INPUT_SIZE_PX, reduced, reduced_shape
from mas_ray.ingest.masks.sam_prompts import Candidates, Images, Prompts

_GPU_BATCH_SIZE = 8

_loading = threading.Lock()

Embedding = Float[Tensor, "channels rows columns"]


class SamNetwork:
    """A loaded network. Threads may share it: they encode in turns, so that one batch is in memory at a time.

    Args:
        sam: The network, on its device.
        batch_size: Most frames in one pass of the encoder.
        compile_encoder: Compile the encoder for batches of this one size; smaller ones are filled up.
    """

    def __init__(self, sam: Sam, *, batch_size: int = 1, compile_encoder: bool = False) -> None:
        self._sam = sam.eval()
        self._encoder = torch.compile(sam.image_encoder) if compile_encoder else sam.image_encoder
        self._fills_up = compile_encoder
        self._batch_size = batch_size
        self._turn = threading.Lock()
        with torch.inference_mode():
            self._positions: Tensor = sam.prompt_encoder.get_dense_pe()

    @property
    def batch_size(self) -> int:
        """Most frames in one pass of the encoder."""
        return self._batch_size

    def encode(self, images_rgb: Images) -> list[EncodedFrame]:
        """Run the image encoder once per frame."""
        embeddings = self.embed([reduced(image) for image in images_rgb])
        pairs = zip(images_rgb, embeddings, strict=True)
        return [
            EncodedFrame(network=self, embedding=embedding, height=image.shape[0], width=image.shape[1])
            for image, embedding in pairs
        ]

    def embed(self, reduced_rgb: Images) -> list[Embedding]:
        """Embeddings of frames that ``sam_image.reduced`` has been through; bfloat16 inside on a GPU."""
        embeddings: list[Tensor] = []
        for start in range(0, len(reduced_rgb), self._batch_size):
            frames = reduced_rgb[start : start + self._batch_size]
            with torch.inference_mode(), self._turn, self._autocast():
                embeddings += self._encoder(self._batch(frames))[: len(frames)].float().unbind()
        return embeddings

    def decode(self, embedding: Embedding, prompts: Prompts, *, height: int, width: int) -> Candidates:
        """Three candidates at the resolution of the frame, ``height`` x ``width``, that the embedding is of."""
        rows, columns = reduced_shape(height, width)
        scale = np.array([columns / width, rows / height])
        device = embedding.device
        points = None
        if len(prompts.points):
            coordinates = torch.as_tensor(prompts.points * scale, dtype=torch.float32, device=device)
            points = coordinates[None], torch.as_tensor(prompts.labels, dtype=torch.int32, device=device)[None]
        box = torch.as_tensor(prompts.box * np.tile(scale, 2), dtype=torch.float32, device=device)[None]
        mask = None if prompts.logits is None else torch.as_tensor(prompts.logits, device=device)[None, None]
        with torch.inference_mode():
            sparse, dense = self._sam.prompt_encoder(points=points, boxes=box, masks=mask)
            logits, scores = self._sam.mask_decoder(
                image_embeddings=embedding[None],
                image_pe=self._positions,
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=True,
            )
            masks = self._sam.postprocess_masks(logits, (rows, columns), (height, width)) > self._sam.mask_threshold
        return Candidates(masks=masks[0].cpu().numpy(), scores=scores[0].cpu().numpy(), logits=logits[0].cpu().numpy())

    def _batch(self, frames: Images) -> Float[Tensor, "batch 3 size size"]:
        num = self._batch_size if self._fills_up else len(frames)
        batch = torch.zeros(num, 3, INPUT_SIZE_PX, INPUT_SIZE_PX, device=self._sam.device)
        for place, frame in zip(batch, frames, strict=False):
            # torch warns of arrays that must not be written; this one is not
            pixels = torch.tensor(frame, device=self._sam.device).permute(2, 0, 1)
            place.copy_(self._sam.preprocess(pixels))
        return batch

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        on_gpu = self._sam.device.type == "cuda"
        return torch.autocast("cuda", dtype=torch.bfloat16) if on_gpu else contextlib.nullcontext()


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedFrame:
    """A frame's embedding, beside the network that decodes prompts from it."""

    network: SamNetwork
    embedding: Embedding
    height: int
    width: int

    def decode(self, prompts: Prompts) -> Candidates:
        """Answer one prompt."""
        return self.network.decode(self.embedding, prompts, height=self.height, width=self.width)


def load_network(config: SamMasks, *, batch_size: int | None = None, compile_encoder: bool = False) -> SamNetwork:
    """Load a checkpoint of the expected hash, once per process; tensors only, so that a file cannot bring code.

    A URL is fetched into the cache first. The network is on the GPU that the process sees, if it sees one.

    Args:
        config: Which checkpoint.
        batch_size: Most frames in one pass of the encoder; None: 8 on a GPU, 1 elsewhere.
        compile_encoder: Compile the encoder.

    Raises:
        ValueError: The file is missing, has another hash, or does not hold the weights of ``config.model``.
        AssetUnavailableError: The URL cannot be fetched, or what it gives has another hash.
    """
    with _loading:  # the views of a take ask for it at the same time
        return _load_network(config.checkpoint, config.sha256, config.model, batch_size, compile_encoder)


@functools.lru_cache(maxsize=1)
def _load_network(
    checkpoint: str,
    sha256: str,
    model: Literal["vit_b", "vit_l", "vit_h"],
    batch_size: int | None,
    compile_encoder: bool,
) -> SamNetwork:
    path = local_checkpoint(SamMasks(checkpoint=checkpoint, sha256=sha256, model=model))
    network = sam_model_registry[model]()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, TypeError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"masks.model: {path} does not hold the weights of {model}: {reason}") from None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batch_size = batch_size or (_GPU_BATCH_SIZE if device == "cuda" else 1)
    return SamNetwork(network.to(device), batch_size=batch_size, compile_encoder=compile_encoder)
