"""From a mask config to the masker of one view."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

import numpy as np
from jaxtyping import Bool, UInt8

from mas_ray.config.ingest import (
    BackgroundMasks,
    ChromaKeyMasks,
    GraphCutMasks,
    MaskConfig,
    MotionMasks,
    ProvidedMasks,
    SamMasks,
    SelfieMasks,
)
from mas_ray.ingest.masks.background import BackgroundMasker
from mas_ray.ingest.masks.chroma_key import ChromaKeyMasker, find_key_rgb
from mas_ray.ingest.masks.graph_cut import GraphCutMasker
from mas_ray.ingest.masks.method import ViewMasker
from mas_ray.ingest.masks.motion import MotionMasker
from mas_ray.ingest.masks.provided import ProvidedMasker
from mas_ray.ingest.masks.sam import SamMasker
from mas_ray.ingest.masks.sam_prompts import PromptableModel
from mas_ray.ingest.masks.selfie import SelfieMasker, SelfieNetwork
from mas_ray.ingest.rejects import BadTakeError

Image = UInt8[np.ndarray, "height width 3"]
Mask = Bool[np.ndarray, "height width"]
_NUM_SELFIE_FRAMES = 25
_NUM_KEY_FRAMES = 5


def create_view_masker(
    config: MaskConfig,
    *,
    selfie_model: Path | None,
    sample_frames: Callable[[int], list[Image]],
    background: Image | None,
    provided: Callable[[int], Mask | None] | None,
    sam_model: PromptableModel | None = None,
) -> ViewMasker:
    """A masker for the frames of one view, of one shot: it learns the scene from them and follows the person.

    Where a video is cut, make another one for the next shot, with ``sample_frames`` of that shot alone.

    Args:
        config: The method.
        selfie_model: The selfie segmentation network, where the method needs it.
        sample_frames: Gives that many undistorted frames spread over the clip, in order.
        background: Undistorted picture of the empty scene, if the take has one.
        provided: The provided mask of a frame, undistorted, if the take has masks.
        sam_model: Segment Anything as it runs elsewhere; None loads it into this process where the method needs it.

    Raises:
        BadTakeError: The take lacks what the method needs.
    """
    seed_masker = functools.partial(
        create_view_masker,
        selfie_model=selfie_model,
        sample_frames=sample_frames,
        background=background,
        provided=provided,
    )
    match config:
        case SelfieMasks():
            if selfie_model is None:
                raise ValueError("selfie_model: SelfieMasks needs the network's file")
            network = SelfieNetwork(selfie_model)
            return SelfieMasker(network, sample_frames(_NUM_SELFIE_FRAMES), refine=config.refine_with_graph_cut)
        case BackgroundMasks():
            plate = background if config.plate == "given" else config.plate
            if plate is None:
                raise BadTakeError("no_background", "plate is 'given', and the take has no backgrounds/<camera>.png")
            return BackgroundMasker(sample_frames(config.num_plate_frames), plate, refine=config.refine_with_graph_cut)
        case MotionMasks():
            return MotionMasker(sample_frames(config.num_scene_frames))
        case GraphCutMasks():
            return GraphCutMasker(seed_masker(config.seed))
        case ChromaKeyMasks():
            return ChromaKeyMasker(config.key_rgb or find_key_rgb(sample_frames(_NUM_KEY_FRAMES)))
        case ProvidedMasks():
            if provided is None:
                raise BadTakeError("no_masks", "the take has no masks/<camera>")
            return ProvidedMasker(provided)
        case SamMasks():
            if sam_model is None:
                from mas_ray.ingest.masks.sam_network import load_network  # torch loads only for SAM

                sam_model = load_network(config)
            return SamMasker(sam_model, seed_masker(config.seed), config)
        case _:
            assert_never(config)
