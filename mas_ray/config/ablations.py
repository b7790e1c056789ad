"""The recipes with one component taken away: the rows of the paper's Tables 4 and 5, Fig. 4, and what we added.

Each takes a recipe and gives another that differs in the fields named, whatever its number of stages; rows without
several components are the functions one after the other. Their order matters only where two set the same field:
``with_paper_symmetry`` with ``without_cascade``, and the two ways to merge bones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Literal

from mas_ray.config.cascade import CascadeConfig, mixed_view_finetune
from mas_ray.config.stage import LossWeights, StageConfig, TeacherConfig

Ablation = Literal[
    "shape_prior",
    "geodesic",
    "triangulation",
    "bones",
    "cascade",
    "teacher",
    "linked_names",
    "arm_search",
    "fresh_detector",
    "depth",
    "name_search",
    "stick",
    "mask_ramp",
    "limb_terms",
    "consistency",
]
"""A component that a recipe can go without."""


def ablated(cascade: CascadeConfig, without: Sequence[Ablation]) -> CascadeConfig:
    """The recipe without some components; ``TrainJob.without`` names them."""
    for name in without:
        cascade = _ABLATIONS[name](cascade)
    return cascade


def names_of(ablations: Sequence[Callable[[CascadeConfig], CascadeConfig]]) -> tuple[Ablation, ...]:
    """The names by which ``ablated`` knows some functions of this module; ``ValueError`` if one has none."""
    names: dict[Callable[[CascadeConfig], CascadeConfig], Ablation] = {f: name for name, f in _ABLATIONS.items()}
    for ablation in ablations:
        if ablation not in names:
            raise ValueError(f"{ablation.__name__}: a job cannot name it in `without`")
    return tuple(names[ablation] for ablation in ablations)


def without_shape_prior(cascade: CascadeConfig) -> CascadeConfig:
    """Without ψ: no physique mask loss in any stage, so that the shape prior network is not trained.

    Table 4: "wo ψ, G" together with ``without_geodesic``. Table 5: "wo structure prior, wo ψ" with ``with_points``.
    """
    return _with_weights(cascade, lambda weights: replace(weights, physique_mask=0.0))


def without_geodesic(cascade: CascadeConfig) -> CascadeConfig:
    """Without G: every pixel of the mask losses counts alike in all stages. Table 4: "wo G"."""
    return _with_stages(cascade, lambda stage: replace(stage, geodesic_weighting=False))


def without_triangulation(cascade: CascadeConfig) -> CascadeConfig:
    """Without Δ: no loss looks at the triangulated joints, the ones beyond the paper and the teacher included.

    Names are then not resolved between views either, in training or prediction.
    Table 4: "wo ψ, G, Δ" together with ``without_geodesic`` and ``without_shape_prior``.
    """
    return _with_weights(
        without_name_search(without_teacher(cascade)),
        lambda weights: replace(
            weights, reprojection=0.0, consistency=0.0, depth=0.0, limb_equality=0.0, leg_proportions=0.0
        ),
    )


def without_teacher(cascade: CascadeConfig) -> CascadeConfig:
    """No stage is taught by the one before: each goes on from its weights, and names are searched for throughout."""
    resolve_names = cascade.stages[0].resolve_names
    return _with_stages(
        cascade,
        lambda stage: (
            stage
            if stage.teacher is None
            else replace(
                stage,
                teacher=None,
                fresh_detector=False,
                resolve_names=resolve_names,
                anchor="torso",
                num_anchor_only_steps=0,
                num_anchor_steps=0,
                mask_ramp_steps=0,
                num_direct_only_steps=0,
            )
        ),
    )


def without_linked_names(cascade: CascadeConfig) -> CascadeConfig:
    """The teacher names each frame set by itself, as its first view does."""
    return _with_teachers(cascade, lambda teacher: replace(teacher, link_names=False))


def without_arm_search(cascade: CascadeConfig) -> CascadeConfig:
    """The teacher's arms are those that the stage before detects."""
    return _with_teachers(cascade, lambda teacher: replace(teacher, search_arms=False))


def without_fresh_detector(cascade: CascadeConfig) -> CascadeConfig:
    """The taught stage goes on from the weights of the stage before; its teacher and warm-up stay."""
    return _with_stages(cascade, lambda stage: replace(stage, fresh_detector=False))


def without_name_search(cascade: CascadeConfig) -> CascadeConfig:
    """Views are triangulated by their own names in all stages, also those that the teacher links through takes."""
    return _with_stages(cascade, lambda stage: replace(stage, resolve_names=False))


def without_stick(cascade: CascadeConfig) -> CascadeConfig:
    """The paper's warm-up for as many steps: pelvis and thorax from the mask, which acts from the first step on."""
    return _with_stages(
        cascade,
        lambda stage: (
            stage
            if stage.anchor != "stick"
            else replace(
                stage,
                loss_weights=replace(stage.loss_weights, anchor=1.0),
                anchor="torso",
                num_anchor_only_steps=0,
                anchor_fades=False,
                mask_ramp_steps=0,
            )
        ),
    )


def without_mask_ramp(cascade: CascadeConfig) -> CascadeConfig:
    """Mask losses act in full from the first step of every stage, beside the warm-up target."""
    return _with_stages(cascade, lambda stage: replace(stage, num_anchor_only_steps=0, mask_ramp_steps=0))


def with_paper_symmetry(cascade: CascadeConfig) -> CascadeConfig:
    """The trunk is held as in the paper: symmetry of weight 2.0, and constant bone lengths in the first stage alone."""
    first, *later = _with_weights(cascade, lambda weights: replace(weights, symmetry=2.0)).stages
    freed = (replace(stage, loss_weights=replace(stage.loss_weights, bone_length=0.0)) for stage in later)
    return replace(cascade, stages=(first, *freed))


def without_limb_terms(cascade: CascadeConfig) -> CascadeConfig:
    """No loss knows where the spine lies, that limbs are equally long, or how the knee divides the leg."""
    return _with_weights(
        cascade, lambda weights: replace(weights, spine_midpoint=0.0, limb_equality=0.0, leg_proportions=0.0)
    )


def without_consistency(cascade: CascadeConfig) -> CascadeConfig:
    """Nothing but masks pulls keypoints to the reprojected joints, as in the paper."""
    return _with_weights(cascade, lambda weights: replace(weights, consistency=0.0))


def without_depth(cascade: CascadeConfig) -> CascadeConfig:
    """As in the paper, nothing tells the heatmap's depth axis how deep a joint lies."""
    return _with_weights(cascade, lambda weights: replace(weights, depth=0.0))


def with_background(cascade: CascadeConfig) -> CascadeConfig:
    """The detector sees the whole picture, not the person alone."""
    return replace(cascade, detector=replace(cascade.detector, background="kept"))


def with_batch_norm(cascade: CascadeConfig) -> CascadeConfig:
    """BatchNorm in place of GroupNorm in the detector; the paper argues for GroupNorm."""
    return replace(cascade, detector=replace(cascade.detector, norm="batch"))


def with_points(cascade: CascadeConfig) -> CascadeConfig:
    """Joints drawn as points instead of bones in all stages (Eq. 3): the mask knows no structure.

    Table 5: "wo structure prior" together with ``without_arm_search``, whose arms are as long as average ones; and its
    row with SPP by ``evaluation.supervised_postprocess``. The terms that know which joint is which (symmetry, bone
    lengths, the warm-up target) are kept, as the appendix says: bones from each joint to itself, everything else being
    equal.
    """
    return _with_stages(cascade, lambda stage: replace(stage, bone_set="points"))


def without_cascade(cascade: CascadeConfig) -> CascadeConfig:
    """One stage: the last one's bones and losses from the first step on, for the epochs and rates of all stages.

    There is no stage before it that could teach it: what the cascade itself does shows against ``without_teacher``. The
    warm-up is the first stage's, its weights included. Fig. 4: the curve without cascade training.
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
        resolve_names=first.resolve_names,
        teacher=None,
        fresh_detector=False,
    )
    return replace(cascade, stages=(stage,))


def with_clamped_sum(cascade: CascadeConfig) -> CascadeConfig:
    """Bones are added up where they overlap, to 1 at most: nearest to the paper's text."""
    return replace(cascade, bone_merge="clamped_sum")


def with_noisy_or(cascade: CascadeConfig) -> CascadeConfig:
    """A pixel is drawn unless every bone misses it."""
    return replace(cascade, bone_merge="noisy_or")


def with_multi_view_finetune(cascade: CascadeConfig) -> CascadeConfig:
    """Five epochs more of the last stage, as Table 3's control: as many steps as the mixture has, of the same views."""
    return _with_finetune(cascade, single_view_share=0.0)


def with_mixed_view_finetune(cascade: CascadeConfig) -> CascadeConfig:
    """Five epochs more of the last stage, every other step on single views of another dataset (Table 3)."""
    return _with_finetune(cascade, single_view_share=0.5)


def brief(cascade: CascadeConfig, steps_share: float) -> CascadeConfig:
    """The recipe in a share of its time: epochs, ramps and warm-ups of every stage alike.

    Every (epochs, rate) pair keeps at least one epoch, every ramp and warm-up at least one step.
    """

    def shorter(stage: StageConfig) -> StageConfig:
        steps = {
            field.name: math.ceil(getattr(stage, field.name) * steps_share)
            for field in fields(stage)
            if field.name.endswith("_steps")
        }
        rates = tuple((max(1, round(num * steps_share)), rate) for num, rate in stage.learning_rates)
        return replace(stage, learning_rates=rates, **steps)

    return _with_stages(cascade, shorter)


def _with_finetune(cascade: CascadeConfig, *, single_view_share: float) -> CascadeConfig:
    (stage,) = mixed_view_finetune(cascade, single_view_share=single_view_share).stages
    return replace(cascade, stages=(*cascade.stages, stage))


def _with_stages(cascade: CascadeConfig, change: Callable[[StageConfig], StageConfig]) -> CascadeConfig:
    return replace(cascade, stages=tuple(change(stage) for stage in cascade.stages))


def _with_teachers(cascade: CascadeConfig, change: Callable[[TeacherConfig], TeacherConfig]) -> CascadeConfig:
    return _with_stages(
        cascade, lambda stage: stage if stage.teacher is None else replace(stage, teacher=change(stage.teacher))
    )


def _with_weights(cascade: CascadeConfig, change: Callable[[LossWeights], LossWeights]) -> CascadeConfig:
    return _with_stages(cascade, lambda stage: replace(stage, loss_weights=change(stage.loss_weights)))


_ABLATIONS: Mapping[Ablation, Callable[[CascadeConfig], CascadeConfig]] = {
    "shape_prior": without_shape_prior,
    "geodesic": without_geodesic,
    "triangulation": without_triangulation,
    "bones": with_points,
    "cascade": without_cascade,
    "teacher": without_teacher,
    "linked_names": without_linked_names,
    "arm_search": without_arm_search,
    "fresh_detector": without_fresh_detector,
    "depth": without_depth,
    "name_search": without_name_search,
    "stick": without_stick,
    "mask_ramp": without_mask_ramp,
    "limb_terms": without_limb_terms,
    "consistency": without_consistency,
}
