"""What a stage minimises: detect, triangulate, reproject, draw, compare."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from mas_ray import losses
from mas_ray.batch import Batch
from mas_ray.config.cascade import CascadeConfig, StageConfig
from mas_ray.geometry.affine import apply_affine, warp_images
from mas_ray.geometry.camera import Camera
from mas_ray.geometry.naming import search_names, swap_sides
from mas_ray.geometry.triangulation import per_view, triangulate
from mas_ray.models.detector import Detection, Detector
from mas_ray.models.shape_prior import ShapePriorNetwork
from mas_ray.rendering.skeleton_mask import skeleton_mask, stage_bones
from mas_ray.skeleton import Skeleton
from mas_ray.training import schedule
from mas_ray.training.figure import stance, warm_up_target

_FARTHEST_NDC = 3.0  # reprojections of half-trained joints can lie anywhere; beyond this no pixel sees them


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
        terms = {f.name: float(getattr(self, f.name).detach()) for f in fields(self)}
        return {**terms, "total": sum(terms.values())}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Reprojection:
    keypoints_ndc: Float[Tensor, "batch views joints 2"]
    named_keypoints_ndc: Float[Tensor, "batch views joints 2"]
    named_depth_ndc: Float[Tensor, "batch views joints"]
    depth_ndc: Float[Tensor, "batch views joints"]
    joints_mm: Float[Tensor, "batch joints 3"]
    views: Bool[Tensor, "batch views"]


class StageObjective(nn.Module):
    """The two networks and the losses of one stage as one module, so that DDP sees a single forward pass."""

    def __init__(
        self,
        detector: Detector,
        shape_prior: ShapePriorNetwork,
        *,
        stage: StageConfig,
        cascade: CascadeConfig,
        skeleton: Skeleton,
    ) -> None:
        super().__init__()
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
        weights, valid = self.stage.loss_weights, batch.valid
        detection, warped = self._detect(batch, warps)
        keypoints = detection.keypoints_ndc.unflatten(0, valid.shape)
        triangulates = schedule.uses_triangulation(self.stage, step) and bool(
            weights.reprojection
            or weights.consistency
            or weights.depth
            or weights.limb_equality
            or weights.leg_proportions
        )
        reprojection = (
            self._reproject(keypoints, detection.depth_ndc.unflatten(0, valid.shape), batch) if triangulates else None
        )
        if schedule.mask_factor(self.stage, step) > 0:
            skeleton_loss, physique_loss = self._mask_losses(keypoints, reprojection, batch)
        else:
            skeleton_loss, physique_loss = self._no_mask_losses()

        def mean(per_view_loss: Float[Tensor, "batch views"], views: Bool[Tensor, "batch views"] = valid) -> Tensor:
            return _mean_over_views(per_view_loss, views)

        zero = keypoints.new_zeros(())
        anchor_factor = schedule.anchor_factor(self.stage, step)
        tied_factor = schedule.tied_limbs_factor(self.stage, step)
        terms = {
            "skeleton_mask": weights.skeleton_mask * schedule.mask_factor(self.stage, step) * skeleton_loss,
            "physique_mask": weights.physique_mask * schedule.physique_factor(self.stage, step) * physique_loss,
            "symmetry": weights.symmetry * mean(losses.symmetry(keypoints, self.skeleton)),
            "bone_length": zero,
            "spine_midpoint": weights.spine_midpoint * mean(losses.spine_midpoint(keypoints, self.skeleton)),
            "anchor": zero,
            "tied_limbs": zero,
            "equivariance": zero,
            "consistency": zero,
            "depth": zero,
            "limb_equality": zero,
            "leg_proportions": zero,
        }
        if weights.bone_length or (anchor_factor and self.stage.anchor != "teacher"):
            figure = stance(batch.mask, batch.camera, valid & batch.calibrated)
            bone_length = losses.bone_length(keypoints, figure.height, self.skeleton)
            terms["bone_length"] = weights.bone_length * mean(bone_length)
            if self.stage.anchor != "teacher" and anchor_factor:
                target, joint_weight = warm_up_target(figure, self.stage.anchor, self.skeleton)
                terms["anchor"] = weights.anchor * anchor_factor * mean(losses.anchor(keypoints, target, joint_weight))
        if tied_factor:
            terms["tied_limbs"] = weights.tied_limbs * tied_factor * mean(losses.tied_limbs(keypoints, self.skeleton))
        if warps is not None and warped is not None:
            unwarped = apply_affine(warps.input_from_output, warped.unflatten(0, warps.view.shape))
            loss = losses.equivariance(unwarped, _take_views(keypoints, warps.view))
            terms["equivariance"] = weights.equivariance * mean(loss, _take_views(valid, warps.view))
        if reprojection is not None:
            r = reprojection
            terms["consistency"] = weights.consistency * mean(
                losses.agreement(r.named_keypoints_ndc, r.keypoints_ndc), r.views
            )
            if weights.depth:
                terms["depth"] = weights.depth * mean(losses.depth(r.named_depth_ndc, r.depth_ndc), r.views)
            terms["limb_equality"] = weights.limb_equality * _mean_over_views(
                losses.limb_equality(r.joints_mm, self.skeleton)[:, None], r.views.any(-1, keepdim=True)
            )
            terms["leg_proportions"] = weights.leg_proportions * _mean_over_views(
                losses.leg_proportions(r.joints_mm, self.skeleton)[:, None], r.views.any(-1, keepdim=True)
            )
        if anchor_factor and batch.teacher_mm is not None:
            taught, target, target_depth = self._teacher(batch.teacher_mm, batch)
            terms["anchor"] = weights.anchor * anchor_factor * mean(losses.agreement(keypoints, target), taught)
            depth = detection.depth_ndc.unflatten(0, valid.shape)
            terms["depth"] = weights.depth * mean(losses.depth(depth, target_depth), taught)
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
            return self.detector(images), None
        chosen = _take_views(batch.image, warps.view).flatten(0, 1)
        warped = warp_images(chosen, warps.input_from_output.flatten(0, 1))
        both: Detection = self.detector(torch.cat([images, warped]))
        direct = Detection(
            keypoints_ndc=both.keypoints_ndc[: len(images)],
            depth_ndc=both.depth_ndc[: len(images)],
            confidence=both.confidence[: len(images)],
        )
        return direct, both.keypoints_ndc[len(images) :]

    def _teacher(
        self, joints_mm: Float[Tensor, "batch joints 3"], batch: Batch
    ) -> tuple[Bool[Tensor, "batch views"], Float[Tensor, "batch views joints 2"], Float[Tensor, "batch views joints"]]:
        """Which views the teacher's joints are seen from, where, and how far behind the root."""
        known = joints_mm.isfinite().all(-1).all(-1)
        joints_mm = joints_mm.nan_to_num()
        in_views = per_view(joints_mm, batch.valid.shape[1])
        target = batch.camera.project(in_views).clamp(-_FARTHEST_NDC, _FARTHEST_NDC)
        return batch.valid & batch.calibrated & known[:, None], target, self._depth_ndc(in_views, batch.camera)

    def _depth_ndc(
        self, in_views_mm: Float[Tensor, "batch views joints 3"], camera: Camera
    ) -> Float[Tensor, "batch views joints"]:
        """Depth of world joints about the root in each view, on the heatmap's depth axis."""
        z = camera.camera_from_world(in_views_mm)[..., 2]
        root = self.skeleton.index("pelvis")
        return (z - z[..., root : root + 1]) / self.cascade.detector.depth_range_mm

    def _reproject(
        self,
        keypoints: Float[Tensor, "batch views joints 2"],
        depth: Float[Tensor, "batch views joints"],
        batch: Batch,
    ) -> _Reprojection:
        """Triangulate (Eq. 10) under the best relative naming, and look at the result from every view again."""
        views = batch.valid & batch.calibrated
        views = views & (views.sum(-1, keepdim=True) >= 2)
        weight = views.unsqueeze(-1).expand(keypoints.shape[:-1]).to(keypoints.dtype)
        camera = batch.camera
        if self.stage.resolve_names:
            swap = search_names(keypoints.detach(), camera, weight, self.skeleton)
            keypoints = swap_sides(keypoints, swap, self.skeleton)
            depth = swap_sides(depth.unsqueeze(-1), swap, self.skeleton).squeeze(-1)
        joints = triangulate(keypoints, camera, weight)
        in_views = per_view(joints, keypoints.shape[1])
        return _Reprojection(
            keypoints_ndc=camera.project(in_views).clamp(-_FARTHEST_NDC, _FARTHEST_NDC),
            named_keypoints_ndc=keypoints,
            named_depth_ndc=depth,
            depth_ndc=self._depth_ndc(in_views, camera),
            joints_mm=joints,
            views=views,
        )

    def _mask_losses(
        self, keypoints: Float[Tensor, "batch views joints 2"], reprojection: _Reprojection | None, batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Skeleton and physique mask loss of the direct keypoints plus the reprojected ones' share."""
        passes = [(keypoints, batch.valid, 1.0)]
        if reprojection is not None and self.stage.loss_weights.reprojection > 0:
            passes.append((reprojection.keypoints_ndc, reprojection.views, self.stage.loss_weights.reprojection))
        weight = batch.weight if self.stage.geodesic_weighting else torch.ones_like(batch.weight)
        drawn = self.draw(torch.stack([points for points, _, _ in passes]))

        def loss(masks: Float[Tensor, "passes batch views rows columns"]) -> Tensor:
            per_view = losses.mask_reconstruction(masks, batch.mask.expand_as(masks), weight.expand_as(masks))
            shares = [share * _mean_over_views(per_view[n], views) for n, (_, views, share) in enumerate(passes)]
            return torch.stack(shares).sum()

        if self.stage.loss_weights.physique_mask == 0:
            return loss(drawn), keypoints.new_zeros(())
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
