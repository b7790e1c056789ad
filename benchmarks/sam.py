"""Segment Anything: what several prompts save that share one pass of the image encoder.

    python benchmarks/sam.py            # a tiny network of the real architecture
    python benchmarks/sam.py --vit-b    # also ViT-B: one encoding, a minute more on one core

Weights are random: time does not depend on them. The encoder sees 1024 x 1024 pixels whatever the frame's size; a
prompt costs its decoding and three candidate masks at the frame's resolution.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from measure import interleaved_cpu_seconds, print_table
from segment_anything import sam_model_registry
from segment_anything.build_sam import _build_sam  # pyright: ignore[reportPrivateUsage]
from segment_anything.modeling import Sam

from mas_ray.ingest.masks.sam_network import SamNetwork
from mas_ray.ingest.masks.sam_prompts import Image, Prompts, prompts_from_mask

HEIGHT, WIDTH = 480, 854
NUM_PROMPTS = (1, 2, 4, 8)
TARGET = "k prompts in one pass: one encoding and k decodings, within 15 %"


class CountedSam:
    """A network that counts the passes of its image encoder."""

    def __init__(self, sam: Sam) -> None:
        self.num_passes = 0
        sam.image_encoder.register_forward_hook(self._count)
        self.network = SamNetwork(sam)

    def _count(self, *_: object) -> None:
        self.num_passes += 1


def shared(network: SamNetwork, image: Image, prompts: Sequence[Prompts]) -> None:
    """Encode once, decode each prompt."""
    encoded = network.encode([image])[0]
    for prompt in prompts:
        encoded.decode(prompt)


def separate(network: SamNetwork, image: Image, prompts: Sequence[Prompts]) -> None:
    """Encode for each prompt."""
    for prompt in prompts:
        network.encode([image])[0].decode(prompt)


def tiny_sam() -> Sam:
    """The architecture at its real input size, with an encoder of width 32 and depth 2."""
    return _build_sam(
        encoder_embed_dim=32, encoder_depth=2, encoder_num_heads=2, encoder_global_attn_indexes=[1], checkpoint=None
    )


def frame() -> Image:
    """A frame of noise."""
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def prompts(num: int) -> list[Prompts]:
    """Prompts for boxes side by side, with points and a low-resolution mask."""
    found: list[Prompts] = []
    for left in np.linspace(40, WIDTH - 200, num).astype(int):
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[100:400, left : left + 120] = True
        logits = np.zeros((256, 256), np.float32)
        found.append(prompts_from_mask(mask, num_positive=3, num_negative=2, logits=logits))
    return found


def compare_tiny() -> None:
    """Print a table of the tiny network."""
    counted, image = CountedSam(tiny_sam()), frame()
    variants = {
        (way, k): partial(function, counted.network, image, prompts(k))
        for k in NUM_PROMPTS
        for way, function in (("shared", shared), ("separate", separate))
    }
    names = {f"{way} {k}": call for (way, k), call in variants.items()}
    passes: dict[str, int] = {}
    for name, call in names.items():
        before = counted.num_passes
        call()
        passes[name] = counted.num_passes - before
    seconds = interleaved_cpu_seconds(names, repetitions=3)
    decoding = (seconds["shared 8"] - seconds["shared 1"]) / 7
    rows = [
        (
            f"{k}",
            f"{passes[f'separate {k}'] - passes[f'shared {k}']} of {passes[f'separate {k}']}",
            f"{seconds[f'shared {k}']:.2f}",
            f"{seconds[f'separate {k}']:.2f}",
            f"{seconds[f'separate {k}'] / seconds[f'shared {k}']:.2f}",
            f"{seconds[f'shared {k}'] / (seconds['shared 1'] + (k - 1) * decoding):.2f}",
        )
        for k in NUM_PROMPTS
    ]
    columns = ("prompts", "passes saved", "shared s", "separate s", "times as fast", "of 1 + k decodings")
    print_table(f"tiny network, one {WIDTH} x {HEIGHT} frame, CPU seconds", columns, rows)
    print(f"\nTarget: {TARGET}.")


def compare_vit_b() -> None:
    """Print a table of ViT-B: an encoding and a decoding measured, the rest reckoned from them."""
    torch.set_num_threads(1)
    network, image = SamNetwork(sam_model_registry["vit_b"]()), frame()
    start = time.process_time()
    encoded = network.encode([image])[0]
    encoding = time.process_time() - start
    start = time.process_time()
    for prompt in prompts(4):
        encoded.decode(prompt)
    decoding = (time.process_time() - start) / 4
    rows = [
        (
            f"{k}",
            f"{encoding + k * decoding:.1f}",
            f"{k * (encoding + decoding):.1f}",
            f"{k * (encoding + decoding) / (encoding + k * decoding):.2f}",
        )
        for k in NUM_PROMPTS
    ]
    title = f"ViT-B, reckoned from one encoding ({encoding:.1f} CPU s) and four decodings ({decoding:.2f} s each)"
    print_table(title, ("prompts", "shared s", "separate s", "times as fast"), rows)


if __name__ == "__main__":
    compare_tiny()
    if "--vit-b" in sys.argv[1:]:
        compare_vit_b()
