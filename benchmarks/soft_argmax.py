"""Soft-argmax forward and backward against softmax and three expectations left to autograd.

    python benchmarks/soft_argmax.py

Under a minute. The plain form sums its probabilities onto each axis before it multiplies by the coordinates, and is
spared the confidence. Memory is what a call takes beyond the logits: the gradient of the logits is in it for both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from measure import interleaved_cpu_seconds, peak_bytes, print_table
from torch import Tensor

from mas_ray.geometry.integral import soft_argmax
from mas_ray.geometry.pixel_grid import pixel_centres_ndc

SHAPES = {
    "full size: 8 images, 18 joints, 64 x 64 x 64": (8, 18, 64, 64, 64),
    "CPU preset: 20 images, 18 joints, 16 x 32 x 32": (20, 18, 16, 32, 32),
}
TARGET = "full size: at least 1.5 times as fast or at most 1/4 of the memory; CPU preset: no slower; error <= 1e-4"


def plain(logits: Tensor) -> Tensor:
    """Softmax over the volume, then the expectations of x, y and z, each from the whole volume."""
    probability = logits.flatten(-3).softmax(-1).unflatten(-1, logits.shape[-3:])
    axes = {(-3, -2): -1, (-3, -1): -2, (-2, -1): -3}  # summed over, and what is left
    return torch.stack(
        [
            (probability.sum(summed) * pixel_centres_ndc(logits.shape[axis], dtype=logits.dtype)).sum(-1)
            for summed, axis in axes.items()
        ],
        dim=-1,
    )


def ours(logits: Tensor) -> Tensor:
    """The package's function, coordinates alone."""
    return soft_argmax(logits)[0]


VARIANTS: dict[str, Callable[[Tensor], Tensor]] = {"softmax, 3 expectations": plain, "soft_argmax": ours}


def prepare(name: str, shape: tuple[int, ...]) -> partial[Tensor]:
    """A call of one variant, forward and backward, that returns the gradient of the logits."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator).mul_(3.0).requires_grad_()
    pull = torch.randn(*shape[:2], 3, generator=generator)
    return partial(gradient, VARIANTS[name], logits, pull)


def gradient(function: Callable[[Tensor], Tensor], logits: Tensor, pull: Tensor) -> Tensor:
    """The gradient of the coordinates' product with ``pull``."""
    return torch.autograd.grad((function(logits) * pull).sum(), logits)[0]


def gradient_error(name: str, shape: tuple[int, ...]) -> float:
    """Largest difference of one image's gradient from the plain form in float64, relative to the largest gradient."""
    call = prepare(name, (1, *shape[1:]))
    function, logits, pull = call.args
    exact = gradient(plain, logits.detach().double().requires_grad_(), pull.double())
    return float((gradient(function, logits, pull) - exact).abs().max() / exact.abs().max())


def main() -> None:
    """Print one table per shape."""
    for title, shape in SHAPES.items():
        seconds = interleaved_cpu_seconds({name: prepare(name, shape) for name in VARIANTS}, repetitions=9)
        peak = {name: peak_bytes(prepare, name, shape) for name in VARIANTS}
        base_seconds, base_peak = seconds["softmax, 3 expectations"], peak["softmax, 3 expectations"]
        rows = [
            (
                name,
                f"{1e3 * seconds[name]:.1f}",
                f"{base_seconds / seconds[name]:.2f}",
                f"{peak[name] / 2**20:.0f}",
                f"{peak[name] / base_peak:.2f}",
                f"{gradient_error(name, shape):.1e}",
            )
            for name in VARIANTS
        ]
        print_table(title, ("variant", "CPU ms", "times as fast", "peak MiB", "share", "gradient error"), rows)
    print(f"\nTarget: {TARGET}.")


if __name__ == "__main__":
    main()
