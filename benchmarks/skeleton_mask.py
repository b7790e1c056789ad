"""The skeleton mask, forward and backward under the weighted squared loss, against the three-branch dense formulation.

    python benchmarks/skeleton_mask.py

About a minute. The joints are anywhere on the map, so the bones are longer than a person's: the harder case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from measure import interleaved_cpu_seconds, peak_bytes, print_table
from torch import Tensor

from mas_ray.geometry.pixel_grid import pixel_centres_ndc
from mas_ray.rendering.skeleton_mask import skeleton_mask
from mas_ray.skeleton import H36M_18

GRADIENT_ERROR = 1e-4
MEMORY_RATIO = 20


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is drawn, and how much faster than the baseline it should be."""

    title: str
    size: int
    batch: int
    num_bones: int
    repetitions: int
    target: float | None = None


CASES = (
    Case(title="256², batch 8, 25 bones", size=256, batch=8, num_bones=25, repetitions=7, target=100.0),
    Case(title="64², batch 32, 25 bones", size=64, batch=32, num_bones=25, repetitions=9, target=20.0),
    Case(title="in training: 64², batch 16, 21 bones", size=64, batch=16, num_bones=21, repetitions=9),
)


def three_branches(keypoints: Tensor, bones: Tensor, widths: Tensor, *, size: int) -> Tensor:
    """The baseline, as Eq. 4, 16 and 17 (with its sign put right) read: all distances of all bones to all pixels."""
    centres = pixel_centres_ndc(size, dtype=keypoints.dtype)
    pixel = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1)
    start, end = keypoints[:, bones, None, None, :].unbind(2)
    bone = end - start
    r = ((pixel - start) * bone).sum(-1) / (bone.square().sum(-1) + 1e-8)
    to_start = (pixel - start).square().sum(-1)
    to_end = (pixel - end).square().sum(-1)
    to_line = (pixel - (start + r[..., None] * bone)).square().sum(-1)
    squared = torch.where(r <= 0, to_start, torch.where(r >= 1, to_end, to_line))
    return torch.exp(-squared / widths[:, None, None].square()).amax(1)


def nearest_bone_only(keypoints: Tensor, bones: Tensor, widths: Tensor, *, size: int) -> Tensor:
    """A dense one of little memory: find the nearest bone of each pixel without gradients, then draw only that one."""
    centres = pixel_centres_ndc(size, dtype=keypoints.dtype)
    x, y = centres[None, :], centres[:, None]

    def squared_distance(start: Tensor, end: Tensor, width: Tensor) -> Tensor:
        bone_x, bone_y = (end - start).unbind(-1)
        to_x, to_y = x - start[..., 0], y - start[..., 1]
        along = ((to_x * bone_x + to_y * bone_y) / (bone_x.square() + bone_y.square()).clamp_min(1e-12)).clamp(0, 1)
        return ((to_x - along * bone_x).square() + (to_y - along * bone_y).square()) / width.square()

    with torch.no_grad():
        nearest = keypoints.new_full((len(keypoints), size, size), torch.inf)
        winner = torch.zeros_like(nearest, dtype=torch.long)
        for index, (start, end) in enumerate(bones.tolist()):
            squared = squared_distance(keypoints[:, None, None, start], keypoints[:, None, None, end], widths[index])
            closer = squared < nearest
            nearest = torch.where(closer, squared, nearest)
            winner.masked_fill_(closer, index)
    image = torch.arange(len(keypoints))[:, None, None]
    start, end = keypoints[image, bones[:, 0][winner]], keypoints[image, bones[:, 1][winner]]
    return torch.exp(-squared_distance(start, end, widths[winner]))


BASELINE = "three branches, dense (baseline)"
OURS = "skeleton_mask"
VARIANTS: dict[str, Callable[..., Tensor]] = {
    BASELINE: three_branches,
    "nearest bone only, dense": nearest_bone_only,
    OURS: skeleton_mask,
    f"{OURS}, clamped sum": partial(skeleton_mask, merge="clamped_sum"),
    f"{OURS}, noisy-or": partial(skeleton_mask, merge="noisy_or"),
}


def prepare(case: Case, variant: str, dtype: torch.dtype = torch.float32) -> Callable[[], Tensor]:
    """The gradient of the loss by the keypoints, ready to be computed."""
    generator = torch.Generator().manual_seed(0)
    drawn = list(dict.fromkeys(H36M_18.bones("loose") + H36M_18.bones("tight")))[: case.num_bones]
    bones, widths = torch.tensor(drawn), torch.full((len(drawn),), 0.055, dtype=dtype)
    shape = (case.batch, case.size, case.size)
    keypoints = torch.rand(case.batch, H36M_18.num_joints, 2, generator=generator).to(dtype) * 1.4 - 0.7
    target = (torch.rand(shape, generator=generator) < 0.5).to(dtype)
    weight = torch.rand(shape, generator=generator).to(dtype)

    def gradient() -> Tensor:
        points = keypoints.clone().requires_grad_()
        mask = VARIANTS[variant](points, bones, widths, size=case.size)
        return torch.autograd.grad((weight * (mask - target).square()).sum(), points)[0]

    return gradient


def run(case: Case) -> None:
    """Measure a case and print its table."""
    gradients = {name: prepare(case, name) for name in VARIANTS}
    exact = prepare(case, BASELINE, torch.float64)()
    seconds = interleaved_cpu_seconds(gradients, case.repetitions)
    peaks = {name: peak_bytes(prepare, case, name) for name in VARIANTS}
    errors = {
        name: float((gradients[name]().double() - exact).abs().max() / exact.abs().max())
        for name in VARIANTS
        if VARIANTS[name] in (three_branches, nearest_bone_only, skeleton_mask)
    }
    rows = [
        [
            name,
            f"{1e3 * seconds[name]:.1f}",
            f"{seconds[BASELINE] / seconds[name]:.1f}x",
            f"{peaks[name] / 2**20:.1f}",
            f"1/{peaks[BASELINE] / peaks[name]:.1f}",
            f"{errors[name]:.0e}" if name in errors else "",
        ]
        for name in VARIANTS
    ]
    print_table(case.title, ("variant", "CPU ms", "faster", "peak MiB", "memory", "gradient error"), rows)
    if case.target:
        faster, smaller = seconds[BASELINE] / seconds[OURS], peaks[BASELINE] / peaks[OURS]
        for text, is_met in (
            (f"at least {case.target:.0f}x faster", faster >= case.target),
            (f"at most 1/{MEMORY_RATIO} of the memory", smaller >= MEMORY_RATIO),
            (f"gradient error at most {GRADIENT_ERROR:.0e}", errors[OURS] <= GRADIENT_ERROR),
        ):
            print(f"target: {OURS} {text}: {'met' if is_met else 'MISSED'}")


def main() -> None:
    """Run all cases."""
    print("Forward and backward of the weighted squared loss; one thread, medians of interleaved repetitions.")
    print("Gradient error: largest difference from the float64 baseline, relative to its largest entry.")
    for case in CASES:
        run(case)


if __name__ == "__main__":
    main()
