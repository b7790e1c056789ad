"""What the renderer and the losses take of an optimiser step of ``cpu_cascade()``, phase by phase.

    python benchmarks/training_step.py

Under a minute. A step is forward, backward, clipping and Adam on a batch of four views that lies ready. Each part is
run alone, forward and backward, on detached inputs, and interleaved with the whole step:

- detector: on the batch's images and the warped ones;
- clip and Adam: on the gradients of a step;
- renderer: the skeleton masks of all passes;
- shape prior: its network on those masks;
- losses: the objective with given keypoints for a detector and the identity for a shape prior network, less the
  renderer. That is the search of names, triangulation, the figure's stance, every term, and the warped images that the
  equivariance term has the detector look at.

The networks have random weights. What drawing costs depends on where the bones lie, so the keypoints are moved to a
person's, give or take 3 % of the crop.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from measure import interleaved_cpu_seconds, print_table
from torch import Tensor, nn

from mas_ray.batch import Batch, collate
from mas_ray.config.cascade import CascadeConfig, cpu_cascade
from mas_ray.config.ingest import CropConfig, MaskQualityConfig
from mas_ray.config.stage import StageConfig
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import frames, record
from mas_ray.corpora.take import Clip
from mas_ray.geometry.affine import warp_images
from mas_ray.geometry.triangulation import per_view
from mas_ray.ingest.masks.method import PersonMask
from mas_ray.ingest.rows import frame_set_row, view_row
from mas_ray.models.detector import Detection
from mas_ray.skeleton import H36M_18
from mas_ray.training import schedule
from mas_ray.training.objective import StageObjective
from mas_ray.training.order import draw_warps
from mas_ray.training.state import create_state

TARGET = 0.03
REPETITIONS = 15
NOISE_NDC = 0.06
STEP, GIVEN_JOINTS = "step", "given joints"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
NETWORKS = ("detector", "clip and Adam", "shape prior")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Steps of a stage in which the same terms act."""

    stage: StageConfig
    steps: range

    @property
    def title(self) -> str:
        """The stage and its steps."""
        return f"{self.stage.name}, {self.steps.start} to {self.steps.stop}"


def phases(cascade: CascadeConfig) -> Iterator[Phase]:
    """The phases of all stages."""
    for stage in cascade.stages:
        end = stage.num_epochs * (cascade.steps_per_epoch or 1)
        for start, stop in pairwise(sorted({0, stage.num_anchor_only_steps, stage.num_direct_only_steps, end})):
            yield Phase(stage=stage, steps=range(start, stop))


def batch_of_people(cascade: CascadeConfig) -> Batch:
    """One instant of as many people as a batch has frame sets, with the true joints for the teacher's."""
    config = SyntheticConfig(num_subjects=cascade.batch_size, takes_per_subject=1, instants_per_take=1)
    recordings = [record(config, subject, 0) for subject in range(config.num_subjects)]
    rows = []
    for recording in recordings:
        views = []
        for camera, calibration in recording.cameras.items():
            image, mask = next(frames(recording, camera))
            clip = Clip(view=camera, video="", calibration=calibration)
            person = PersonMask(mask=mask, score=1.0)
            row = view_row(
                clip, image, person=person, mask_source="", mask_quality=MaskQualityConfig(), crop=CropConfig()
            )
            if isinstance(row, str):
                raise ValueError(f"{recording.subject}, {camera}: {row}")
            views.append(row)
        rows.append(frame_set_row(recording.subject, 0, shot=0, timestamp_s=0.0, views=views))
    batch = collate(rows, {recording.subject: tuple(recording.cameras) for recording in recordings}, cascade)
    joints = [torch.from_numpy(recording.body.joints_world_mm[0]).float() for recording in recordings]
    return replace(batch, teacher_mm=torch.stack(joints))


class Moved(nn.Module):
    """A detector whose keypoints are moved to given places; what they cost and pass back stays the same."""

    def __init__(self, detector: nn.Module, keypoints_ndc: Tensor) -> None:
        super().__init__()
        self.detector = detector
        self.keypoints_ndc = keypoints_ndc

    def forward(self, images: Tensor) -> Detection:
        """Detect."""
        found: Detection = self.detector(images)
        shift = (self.keypoints_ndc - found.keypoints_ndc).detach()
        return replace(found, keypoints_ndc=found.keypoints_ndc + shift)


class Given(nn.Module):
    """Keypoints that depend on no image."""

    def __init__(self, keypoints_ndc: Tensor) -> None:
        super().__init__()
        self.keypoints_ndc = nn.Parameter(keypoints_ndc)
        self.depth_ndc = nn.Parameter(torch.zeros(keypoints_ndc.shape[:-1]))

    def forward(self, images: Tensor) -> Detection:
        """The keypoints."""
        return Detection(
            keypoints_ndc=1.0 * self.keypoints_ndc, depth_ndc=1.0 * self.depth_ndc, confidence=self.depth_ndc
        )


def variants(phase: Phase, cascade: CascadeConfig, batch: Batch) -> dict[str, Callable[[], object]]:
    """The whole step and its parts."""
    stage, step = phase.stage, phase.steps[len(phase.steps) // 2]
    state = create_state(cascade, H36M_18, torch.device("cpu"))
    state.optimizer.param_groups[0]["lr"] = 0.0
    parameters = state.optimizer.param_groups[0]["params"]
    num_sets, num_views = batch.valid.shape
    warps = draw_warps(
        torch.arange(num_sets).numpy(),
        batch.valid,
        num_warped=min(cascade.equivariance_views or num_views, num_views),
        scale=cascade.equivariance_scale,
        seed=0,
        step=0,
    )
    warped_from = batch.image[torch.arange(num_sets)[:, None], warps.view].flatten(0, 1)
    images = torch.cat([batch.image.flatten(0, 1), warp_images(warped_from, warps.input_from_output.flatten(0, 1))])
    exact = batch.camera.project(per_view(batch.teacher_mm, num_views))
    keypoints = torch.cat([exact.flatten(0, 1), exact[torch.arange(num_sets)[:, None], warps.view].flatten(0, 1)])
    keypoints += NOISE_NDC * torch.randn(keypoints.shape, generator=torch.Generator().manual_seed(0))
    pull = torch.randn_like(keypoints)

    def objective_of(detector: nn.Module, shape_prior: nn.Module) -> StageObjective:
        return StageObjective(detector, shape_prior, stage=stage, cascade=cascade, skeleton=H36M_18)

    whole = objective_of(Moved(state.detector, keypoints), state.shape_prior)
    draws = schedule.mask_factor(stage, step) > 0
    given = objective_of(Given(keypoints.clone()), nn.Identity() if draws else state.shape_prior)

    def run(objective: StageObjective) -> None:
        objective.zero_grad()
        objective(batch, warps, step).total.backward()

    def clip_and_adam() -> None:
        nn.utils.clip_grad_norm_(parameters, cascade.gradient_clip or torch.inf)
        state.optimizer.step()

    def whole_step() -> None:
        run(whole)
        clip_and_adam()

    def detector() -> None:
        state.detector.zero_grad()
        (state.detector(images).keypoints_ndc * pull).sum().backward()

    parts = {STEP: whole_step, "clip and Adam": clip_and_adam, "detector": detector, GIVEN_JOINTS: lambda: run(given)}
    if not draws:
        return parts
    num_passes = 1 + (schedule.uses_triangulation(stage, step) and stage.loss_weights.reprojection > 0)
    points = torch.stack([keypoints[: num_sets * num_views].unflatten(0, batch.valid.shape)] * num_passes)
    masks = whole.draw(points)

    def renderer() -> None:
        leaf = points.clone().requires_grad_()
        whole.draw(leaf).backward(masks)

    def shape_prior() -> None:
        state.shape_prior.zero_grad()
        leaf = masks.flatten(0, 2).requires_grad_()
        state.shape_prior(leaf).backward(masks.flatten(0, 2))

    parts["renderer"] = renderer
    if stage.loss_weights.physique_mask > 0:
        parts["shape prior"] = shape_prior
    return parts


def keep_freed_memory() -> None:
    """Let the allocator of Linux keep what is freed.

    Whether it asks the system for every large tensor anew hangs on the shape of the heap and moves a step by a third.
    """
    malloc_options = ctypes.CDLL(None)
    malloc_options.mallopt(_M_MMAP_THRESHOLD, 1 << 25)
    malloc_options.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def main() -> None:
    """Measure every phase and print their shares."""
    keep_freed_memory()
    cascade = cpu_cascade()
    batch = batch_of_people(cascade)
    weighted = []
    for phase in phases(cascade):
        seconds = interleaved_cpu_seconds(variants(phase, cascade, batch), REPETITIONS)
        weighted.append((phase.title, len(phase.steps), seconds))
    num_steps = sum(steps for _, steps, _ in weighted)
    names = {name for _, _, seconds in weighted for name in seconds}
    mean = {name: sum(steps * seconds.get(name, 0.0) for _, steps, seconds in weighted) / num_steps for name in names}
    rows = [row(title, steps, seconds) for title, steps, seconds in [*weighted, ("whole recipe", num_steps, mean)]]
    columns = ("stage, its steps", "steps", "step, CPU ms", *NETWORKS, "renderer", "losses", "renderer + losses")
    print_table("CPU seconds of an optimiser step and the shares of its parts, one thread", columns, rows)
    share = mean[GIVEN_JOINTS] / mean[STEP]
    print(f"target: renderer and losses at most {TARGET:.0%} of a step: {'met' if share <= TARGET else 'MISSED'}")


def row(title: str, num_steps: int, seconds: dict[str, float]) -> list[str]:
    """A line of the table."""
    step, renderer, together = seconds[STEP], seconds.get("renderer", 0.0), seconds[GIVEN_JOINTS]
    shares = [*(seconds.get(name, 0.0) for name in NETWORKS), renderer, together - renderer, together]
    return [title, str(num_steps), f"{1e3 * step:.1f}", *(f"{share / step:.1%}" for share in shares)]


if __name__ == "__main__":
    main()
