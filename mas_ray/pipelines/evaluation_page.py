"""The page of an evaluation, with the crops of the frame sets that it shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mas_ray.evaluation import metrics
from mas_ray.evaluation.record import Evaluation
from mas_ray.geometry.pixel_grid import pixel_from_ndc
from mas_ray.pipelines.evaluate_split import SplitComparison
from mas_ray.reporting.evaluation_page import EvaluationPage, Outcome, render_evaluation
from mas_ray.reporting.overlay import MASK_RGB, draw_skeleton
from mas_ray.shards.images import decode_image, encode_image
from mas_ray.shards.location import Location
from mas_ray.shards.manifest import read_manifest
from mas_ray.shards.read import read_split
from mas_ray.skeleton import Skeleton

_NUM_OUTCOMES = 6
_MOST_VIEWS = 4


def evaluation_page(found: SplitComparison, evaluation: Evaluation, manifest: Location, skeleton: Skeleton) -> str:
    """The page as HTML text. Best and worst are by the triangulated pose, or by the keypoints where there is none."""
    root = skeleton.parents.index(-1)
    comparison = found.comparison
    triangulated_mm = metrics.root_aligned_errors(comparison.triangulated_mm, comparison.reference_mm, root=root)
    percent = metrics.keypoint_errors(comparison.keypoints_ndc, comparison.reference_ndc) * 100.0 / 2.0
    of_poses, of_views = triangulated_mm.nanmean(-1), percent.flatten(1).nanmean(-1)
    in_space = bool(of_poses.isfinite().any())
    ranked, unit = (of_poses, "mm") if in_space else (of_views, "% of the crop")
    order = [int(n) for n in ranked.argsort() if ranked[n].isfinite()]
    best, worst = order[:_NUM_OUTCOMES], order[: -_NUM_OUTCOMES - 1 : -1]
    rows = _rows(found, manifest, {*best, *worst})
    size_px = read_manifest(manifest).parameters.crop.size_px

    def outcomes(chosen: Sequence[int]) -> list[Outcome]:
        return [
            Outcome(
                take_id=found.instants[n][0],
                instant=found.instants[n][1],
                error=f"{float(ranked[n]):.1f} {unit}",
                picture=_picture(rows[n], found, n, size_px=size_px, skeleton=skeleton),
            )
            for n in chosen
        ]

    return render_evaluation(
        EvaluationPage(
            evaluation=evaluation,
            spreads={
                "triangulated": ("mm", of_poses.tolist()),
                "one view": ("mm", _of_views_mm(found, root).tolist()),
                "2D": ("% of crop", percent.nanmean(-1).flatten().tolist()),
            },
            best=outcomes(best),
            worst=outcomes(worst),
        )
    )


def _of_views_mm(found: SplitComparison, root: int) -> Float[Tensor, " poses"]:
    comparison = found.comparison
    reference_mm = comparison.reference_mm.unsqueeze(1).expand_as(comparison.monocular_mm)
    return metrics.root_aligned_errors(comparison.monocular_mm, reference_mm, root=root).nanmean(-1).flatten()


def _rows(found: SplitComparison, manifest: Location, chosen: set[int]) -> dict[int, dict[str, Any]]:
    """The rows of some frame sets, by their place; a take is read once."""
    content = read_manifest(manifest)
    place = {found.instants[n]: n for n in chosen}
    return {
        place[take_id, row["instant"]]: row
        for take_id in sorted({take_id for take_id, _ in place})
        for row in read_split(manifest.parent, content, found.source.split, take_id=take_id)
        if (take_id, row["instant"]) in place
    }


def _picture(row: dict[str, Any], found: SplitComparison, n: int, *, size_px: int, skeleton: Skeleton) -> bytes:
    """The views beside each other: the reference in green, what was predicted on top."""
    tiles: list[np.ndarray] = []
    for view in row["views"][:_MOST_VIEWS]:
        v = found.views[n].index(view["name"])
        crop = decode_image(view["image"])
        for joints_ndc, rgb in (
            (found.comparison.reference_ndc[n, v], MASK_RGB),
            (found.comparison.keypoints_ndc[n, v], None),
        ):
            crop = draw_skeleton(crop, _px(joints_ndc, size_px), skeleton, rgb=rgb)
        tiles.append(crop)
    return encode_image(np.hstack(tiles))


def _px(joints_ndc: Float[torch.Tensor, "joints 2"], size_px: int) -> Float[np.ndarray, "joints 2"]:
    return pixel_from_ndc(joints_ndc.double(), size_px).numpy()
