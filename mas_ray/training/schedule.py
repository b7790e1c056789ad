"""What changes within a stage, as pure functions of the step (counted from 0 within the stage)."""

from __future__ import annotations

from mas_ray.config.stage import StageConfig


def mask_factor(stage: StageConfig, step: int) -> float:
    """Factor on the mask losses: 0 in the anchor-only steps, then a linear ramp to 1."""
    after = step - stage.num_anchor_only_steps
    if after < 0:
        return 0.0
    return min(1.0, (after + 1) / (stage.mask_ramp_steps + 1))


def physique_factor(stage: StageConfig, step: int) -> float:
    """Further factor on the physique mask loss (the text's "gradually increases"; 0 steps: constant)."""
    return mask_factor(stage, step) * min(1.0, (step + 1) / (stage.physique_ramp_steps + 1))


def anchor_factor(stage: StageConfig, step: int) -> float:
    """Factor on the pull of the warm-up target."""
    if step >= stage.num_anchor_steps:
        return 0.0
    if not stage.anchor_fades or step < stage.num_anchor_only_steps:
        return 1.0
    return (stage.num_anchor_steps - step) / (stage.num_anchor_steps - stage.num_anchor_only_steps)


def tied_limbs_factor(stage: StageConfig, step: int) -> float:
    """Factor on the tie between left and right arms."""
    return 1.0 if step < stage.num_tied_limb_steps else 0.0


def uses_triangulation(stage: StageConfig, step: int) -> bool:
    """Whether the terms that triangulate act yet."""
    return step >= stage.num_direct_only_steps
