"""The recipes with one component taken away: the rows of the paper's Tables 4 and 5, and Fig. 4.

Each takes a recipe and gives another that differs in the fields named, whatever its number of stages; rows without
several components are the functions one after the other, in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mas_ray.config.cascade import CascadeConfig, LossWeights, StageConfig


def without_shape_prior(cascade: CascadeConfig) -> CascadeConfig:
    """Without ψ: no physique mask loss in any stage, so that the shape prior network is not trained.

    Table 4: "wo ψ, G" together with ``without_geodesic``. Table 5: "wo structure prior, wo ψ" with ``with_points``.
    """
    return _with_weights(cascade, lambda weights: replace(weights, physique_mask=0.0))


def without_geodesic(cascade: CascadeConfig) -> CascadeConfig:
    """Without G: every pixel of the mask losses counts alike in all stages. Table 4: "wo G"."""
    return _with_stages(cascade, lambda stage: replace(stage, geodesic_weighting=False))


def without_triangulation(cascade: CascadeConfig) -> CascadeConfig:
    """Without Δ: no loss looks at the triangulated joints, the ones beyond the paper included.

    Names are then not resolved between views either, whatever ``resolve_names`` says, since nothing triangulates.
    Table 4: "wo ψ, G, Δ" together with ``without_geodesic`` and ``without_shape_prior``.
    """
    return _with_weights(
        cascade,
        lambda weights: replace(weights, reprojection=0.0, consistency=0.0, depth=0.0, limb_equality=0.0),
    )


def with_points(cascade: CascadeConfig) -> CascadeConfig:
    """Joints drawn as points instead of bones in all stages (Eq. 3): the mask knows no structure.

    Table 5: "wo structure prior", and its row with SPP by ``evaluation.supervised_postprocess``. The terms that know
    which joint is which (symmetry, bone lengths, the warm-up target) are kept, as the appendix says: bones from each
    joint to itself, everything else being equal.
    """
    return _with_stages(cascade, lambda stage: replace(stage, bone_set="points"))


def without_cascade(cascade: CascadeConfig) -> CascadeConfig:
    """One stage: the last one's bones and losses from the first step on, for the epochs and rates of all stages.

    The warm-up is the first stage's, its weights included. Fig. 4: the curve without cascade training.
    """
    first, last = cascade.stages[0], cascade.stages[-1]
    stage = replace(
        last,
        learning_rates=tuple(pair for each in cascade.stages for pair in each.learning_rates),
        loss_weights=replace(last.loss_weights, anchor=first.loss_weights.anchor),
        anchor=first.anchor,
        num_anchor_only_steps=first.num_anchor_only_steps,
        num_anchor_steps=first.num_anchor_steps,
        anchor_fades=first.anchor_fades,
        mask_ramp_steps=first.mask_ramp_steps,
        num_direct_only_steps=first.num_direct_only_steps,
    )
    return replace(cascade, stages=(stage,))


def _with_stages(cascade: CascadeConfig, change: Callable[[StageConfig], StageConfig]) -> CascadeConfig:
    return replace(cascade, stages=tuple(change(stage) for stage in cascade.stages))


def _with_weights(cascade: CascadeConfig, change: Callable[[LossWeights], LossWeights]) -> CascadeConfig:
    return _with_stages(cascade, lambda stage: replace(stage, loss_weights=change(stage.loss_weights)))
