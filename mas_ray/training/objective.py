"""What a stage minimises: detect, triangulate, reproject, draw, compare."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from mas_ray import losses
from mas_ray.batch import Batch
from mas_ray.config.cascade import CascadeConfig
from mas_ray.config.jobs import Precision
from mas_ray.config.stage import StageConfig
from mas_ray.geometry.affine import apply_affine, warp_images
from mas_ray.models.detector import Detection, Detector
from mas_ray.models.shape_prior import ShapePriorNetwork
from mas_ray.rendering.skeleton_mask import skeleton_mask, stage_bones
from mas_ray.skeleton import Skeleton
from mas_ray.training import schedule
from mas_ray.training.figure import stance, warm_up_target
from mas_ray.training.placement import image_format, layers_autocast
from mas_ray.training.reprojection import Reprojection, Seen, reproject, see


@dataclass(frozen=True, kw_only=True, eq=False)
class Warps:
    """The random affine maps of the equivariance loss: some views of each frame set."""

    view: Int64[Tensor, "batch warped"]
    input_from_output: Float[Tensor, "batch warped 2 3"]

    def to(self, device: torch.device) -> Warps:
        """The same maps on another device."""
        return Warps(view=self.view.to(device), input_from_output=self.input_from_output.to(device))


@dataclass(frozen=True, kw_only=True, eq=False)
class LossBreakdown:
    """One scalar per term, already weighted, mean over frame sets; 0 for a term that does not act."""

    skeleton_mask: Tensor
    physique_mask: Tensor
    bone_length: Tensor
    equivariance: Tensor
    symmetry: Tensor
    spine_midpoint: Tensor
    anchor: Tensor
    tied_limbs: Tensor
    consistency: Tensor
    depth: Tensor
    limb_equality: Tensor
    leg_proportions: Tensor

    @property
    def total(self) -> Tensor:
        """The sum of all terms."""
        return torch.stack([getattr(self, f.name) for f in fields(self)]).sum()

    @property
    def reconstruction(self) -> Tensor:
        """The mask terms alone: what checkpoints are selected by."""
        return self.skeleton_mask + self.physique_mask

    def as_floats(self) -> dict[str, float]:
        """Every term and the total by name."""
        names = [f.name for f in fields(self)]
        # One transfer from the device for all of them.
        terms = dict(zip(names, torch.stack([getattr(self, name).detach() for name in names]).tolist(), strict=True))
        return {**terms, "total": sum(terms.values())}


class StageObjective(nn.Module):
    """The two networks and the losses of one stage as one module, so that DDP sees a single forward pass.

    ``precision`` is that of the networks' layers; everything else is float32.
    """

    def __init__(
        self,
        detector: Detector,
        shape_prior: ShapePriorNetwork,
        *,
        stage: StageConfig,
        cascade: CascadeConfig,
        skeleton: Skeleton,
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        self.precision: Precision = precision
        self.detector = detector
        self.shape_prior = shape_prior
        self.stage = stage
        self.cascade = cascade
        self.skeleton = skeleton
        bones, widths = stage_bones(stage, skeleton)
        self.bones: Tensor
        self.bone_widths: Tensor
        self.register_buffer("bones", bones, persistent=False)
        self.register_buffer("bone_widths", widths, persistent=False)
        # DDP waits for every parameter that wants a gradient.
        shape_prior.requires_grad_(stage.loss_weights.physique_mask > 0)

    def forward(self, batch: Batch, warps: Warps | None, step: int) -> LossBreakdown:
        """The losses of a batch at a step of the stage. Without warps there is no equivariance term."""
        detection, warped = self._detect(batch, warps)
        keypoints = detection.keypoints_ndc.unflatten(0, batch.valid.shape)
        depth = detection.depth_ndc.unflatten(0, batch.valid.shape)
        reprojection = None
        if self._triangulates(batch, step):
            predicted = Seen(keypoints_ndc=keypoints, depth_ndc=depth)
            reprojection = reproject(
                predicted,
                batch,
                skeleton=self.skeleton,
                depth_range_mm=self.cascade.detector.depth_range_mm,
                resolve_names=self.stage.resolve_names,
            )
        terms = dict.fromkeys((field.name for field in fields(LossBreakdown)), keypoints.new_zeros(()))
        terms |= self._mask_terms(keypoints, reprojection, batch, step)
        terms |= self._pose_terms(keypoints, batch.valid, step)
        terms |= self._figure_terms(keypoints, batch, step)
        if warps is not None and warped is not None:
            terms |= self._equivariance_term(keypoints, warped, warps, batch.valid)
        if reprojection is not None:
            terms |= self._reprojection_terms(reprojection)
        anchor_factor = schedule.anchor_factor(self.stage, step)
        if anchor_factor and batch.teacher_mm is not None:
            terms |= self._teacher_terms(keypoints, depth, batch, batch.teacher_mm, anchor_factor)
        return LossBreakdown(**terms)

    def draw(self, keypoints_ndc: Float[Tensor, "*batch joints 2"]) -> Float[Tensor, "*batch rows columns"]:
        """The skeleton mask of this stage's bones."""
        return skeleton_mask(
            keypoints_ndc, self.bones, self.bone_widths, size=self.cascade.mask_size, merge=self.cascade.bone_merge
        )

    def _detect(self, batch: Batch, warps: Warps | None) -> tuple[Detection, Float[Tensor, "warped joints 2"] | None]:
        """Detect the joints of all views and of the warped ones, in one pass through the detector."""
        images = batch.image.flatten(0, 1)
        if warps is None or self.stage.loss_weights.equivariance == 0:
            return self._detections(images), None
        chosen = _take_views(batch.image, warps.view).flatten(0, 1)
        warped = warp_images(chosen, warps.input_from_output.flatten(0, 1))
        both = self._detections(torch.cat([images, warped]))
        direct = Detection(
            keypoints_ndc=both.keypoints_ndc[: len(images)],
            depth_ndc=both.depth_ndc[: len(images)],
            confidence=both.confidence[: len(images)],
        )
        return direct, both.keypoints_ndc[len(images) :]

    def _detections(self, images: Float[Tensor, "batch rgb height width"]) -> Detection:
        with layers_autocast(images.device, self.precision):
            return self.detector(images.contiguous(memory_format=image_format(images.device)))

    def _triangulates(self, batch: Batch, step: int) -> bool:
        """Whether any term of this step needs the triangulated joints."""
        weights = self.stage.loss_weights
        wanted = (
            weights.reprojection,
            weights.consistency,
            weights.depth,
            weights.limb_equality,
            weights.leg_proportions,
        )
        return batch.valid.shape[1] > 1 and schedule.uses_triangulation(self.stage, step) and any(wanted)

    def _mask_terms(
        self,
        keypoints: Float[Tensor, "batch views joints 2"],
        reprojection: Reprojection | None,
        batch: Batch,
        step: int,
    ) -> dict[str, Tensor]:
        """What is drawn against the person's mask (Eq. 5 and 7)."""
        weights, factor = self.stage.loss_weights, schedule.mask_factor(self.stage, step)
        if factor > 0:
            skeleton_loss, physique_loss = self._mask_losses(keypoints, reprojection, batch)
        else:
            skeleton_loss, physique_loss = self._no_mask_losses()
        return {
            "skeleton_mask": weights.skeleton_mask * factor * skeleton_loss,
            "physique_mask": weights.physique_mask * schedule.physique_factor(self.stage, step) * physique_loss,
        }

    def _pose_terms(
        self, keypoints: Float[Tensor, "batch views joints 2"], valid: Bool[Tensor, "batch views"], step: int
    ) -> dict[str, Tensor]:
        """What each view's joints owe one another."""
        weights, tied_factor = self.stage.loss_weights, schedule.tied_limbs_factor(self.stage, step)
        terms = {
            "symmetry": weights.symmetry * _mean_over_views(losses.symmetry(keypoints, self.skeleton), valid),
            "spine_midpoint": weights.spine_midpoint
            * _mean_over_views(losses.spine_midpoint(keypoints, self.skeleton), valid),
        }
        if tied_factor:
            tied = _mean_over_views(losses.tied_limbs(keypoints, self.skeleton), valid)
            terms["tied_limbs"] = weights.tied_limbs * tied_factor * tied
        return terms

    def _figure_terms(
        self, keypoints: Float[Tensor, "batch views joints 2"], batch: Batch, step: int
    ) -> dict[str, Tensor]:
        """Bone lengths, and the warm-up target unless it is the teacher's: both measured by the mask's figure."""
        weights, anchor_factor = self.stage.loss_weights, schedule.anchor_factor(self.stage, step)
        if self.stage.anchor == "teacher":
            anchor_factor = 0.0
        if not weights.bone_length and not anchor_factor:
            return {}
        figure = stance(batch.mask, batch.camera, batch.valid & batch.calibrated)
        bone_length = losses.bone_length(keypoints, figure.height, self.skeleton)
        terms = {"bone_length": weights.bone_length * _mean_over_views(bone_length, batch.valid)}
        if self.stage.anchor != "teacher" and anchor_factor:
            target, joint_weight = warm_up_target(figure, self.stage.anchor, self.skeleton)
            anchor = _mean_over_views(losses.anchor(keypoints, target, joint_weight), batch.valid)
            terms["anchor"] = weights.anchor * anchor_factor * anchor
        return terms

    def _equivariance_term(
        self,
        keypoints: Float[Tensor, "batch views joints 2"],
        warped: Float[Tensor, "warped joints 2"],
        warps: Warps,
        valid: Bool[Tensor, "batch views"],
    ) -> dict[str, Tensor]:
        """Joints found in warped images, warped back, against those of the images (Eq. 13)."""
        unwarped = apply_affine(warps.input_from_output, warped.unflatten(0, warps.view.shape))
        loss = losses.equivariance(unwarped, _take_views(keypoints, warps.view))
        return {
            "equivariance": self.stage.loss_weights.equivariance
            * _mean_over_views(loss, _take_views(valid, warps.view))
        }

    def _reprojection_terms(self, r: Reprojection) -> dict[str, Tensor]:
        """What the triangulated joints say of each view, and owe themselves."""
        weights, some_views = self.stage.loss_weights, r.views.any(-1, keepdim=True)
        agreement = _mean_over_views(losses.agreement(r.named.keypoints_ndc, r.seen.keypoints_ndc), r.views)
        equality = _mean_over_views(losses.limb_equality(r.joints_mm, self.skeleton)[:, None], some_views)
        proportions = _mean_over_views(losses.leg_proportions(r.joints_mm, self.skeleton)[:, None], some_views)
        terms = {
            "consistency": weights.consistency * agreement,
            "limb_equality": weights.limb_equality * equality,
            "leg_proportions": weights.leg_proportions * proportions,
        }
        if weights.depth:
            depth = _mean_over_views(losses.depth(r.named.depth_ndc, r.seen.depth_ndc), r.views)
            terms["depth"] = weights.depth * depth
        return terms

    def _teacher_terms(
        self,
        keypoints: Float[Tensor, "batch views joints 2"],
        depth: Float[Tensor, "batch views joints"],
        batch: Batch,
        joints_mm: Float[Tensor, "batch joints 3"],
        anchor_factor: float,
    ) -> dict[str, Tensor]:
        """The teacher's joints as each view sees them, against what is found there; its depth replaces our own."""
        known = joints_mm.isfinite().all(-1).all(-1)
        taught = batch.valid & batch.calibrated & known[:, None]
        seen = see(
            joints_mm.nan_to_num(),
            batch.camera,
            skeleton=self.skeleton,
            depth_range_mm=self.cascade.detector.depth_range_mm,
        )
        weights = self.stage.loss_weights
        anchor = _mean_over_views(losses.agreement(keypoints, seen.keypoints_ndc), taught)
        return {
            "anchor": weights.anchor * anchor_factor * anchor,
            "depth": weights.depth * _mean_over_views(losses.depth(depth, seen.depth_ndc), taught),
        }

    def _mask_losses(
        self, keypoints: Float[Tensor, "batch views joints 2"], reprojection: Reprojection | None, batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Skeleton and physique mask loss of the direct keypoints plus the reprojected ones' share."""
        passes = [(keypoints, batch.valid, 1.0)]
        if reprojection is not None and self.stage.loss_weights.reprojection > 0:
            passes.append((reprojection.seen.keypoints_ndc, reprojection.views, self.stage.loss_weights.reprojection))
        weight = batch.weight if self.stage.geodesic_weighting else torch.ones_like(batch.weight)
        drawn = self.draw(torch.stack([points for points, _, _ in passes]))

        def loss(masks: Float[Tensor, "passes batch views rows columns"]) -> Tensor:
            per_view = losses.mask_reconstruction(masks, batch.mask.expand_as(masks), weight.expand_as(masks))
            shares = [share * _mean_over_views(per_view[n], views) for n, (_, views, share) in enumerate(passes)]
            return torch.stack(shares).sum()

        if self.stage.loss_weights.physique_mask == 0:
            return loss(drawn), keypoints.new_zeros(())
        with layers_autocast(drawn.device, self.precision):
            physique = self.shape_prior(drawn.flatten(0, 2)).unflatten(0, drawn.shape[:3])
        return loss(drawn), loss(physique)

    def _no_mask_losses(self) -> tuple[Tensor, Tensor]:
        """Zeros; the second with a gradient for the shape prior network, which data-parallel training waits for."""
        zero = self.bone_widths.new_zeros(())
        parameters = [p.flatten() for p in self.shape_prior.parameters() if p.requires_grad]
        return zero, 0.0 * torch.cat(parameters).sum() if parameters else zero


def _mean_over_views(loss: Float[Tensor, "batch views"], views: Bool[Tensor, "batch views"]) -> Tensor:
    """Mean over each frame set's views, then over frame sets: equal however frame sets are dealt to workers."""
    masked = torch.where(views, loss, torch.zeros_like(loss))
    return (masked.sum(-1) / views.sum(-1).clamp_min(1)).mean()


def _take_views(values: Tensor, view: Int64[Tensor, "batch warped"]) -> Tensor:
    return values[torch.arange(len(view), device=view.device)[:, None], view]
