"""COCO keypoints: pictures, people and a category with our joints, as annotation tools and evaluations read them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from mas_ray.skeleton import Skeleton

_VISIBLE = 2
"""COCO's mark of a keypoint that is there; a joint that was not predicted has 0, 0 and the mark 0."""


def coco(rows: Iterable[Mapping[str, Any]], skeleton: Skeleton) -> dict[str, Any]:
    """Rows of ``reporting.poses`` as one COCO dataset; a picture for each view of each instant.

    The category is ``person`` with the skeleton's joints, not COCO's own 17. Pictures are named
    ``<take>/<view>/<frame>``; their keypoints are in pixels of the undistorted source, (0, 0) the centre of its first
    pixel. The score is the mean confidence, the box that of the keypoints.
    """
    pictures = [(row, view) for row in rows for view in row["views"]]
    return {
        "info": {"description": "Predicted by mas-ray", "version": "1.0"},
        "categories": [
            {
                "id": 1,
                "name": "person",
                "supercategory": "person",
                "keypoints": list(skeleton.joints),
                "skeleton": [[joint + 1, parent + 1] for joint, parent in enumerate(skeleton.parents) if parent >= 0],
            }
        ],
        "images": [
            {"id": number, "file_name": f"{row['take_id']}/{view['name']}/{row['instant']:06d}"}
            for number, (row, view) in enumerate(pictures, start=1)
        ],
        "annotations": [_annotation(number, view) for number, (_, view) in enumerate(pictures, start=1)],
    }


def _annotation(number: int, view: Mapping[str, Any]) -> dict[str, Any]:
    known = [(x, y) for x, y in view["keypoints_px"] if math.isfinite(x) and math.isfinite(y)]
    keypoints = [
        value
        for x, y in view["keypoints_px"]
        for value in ((x, y, _VISIBLE) if math.isfinite(x) and math.isfinite(y) else (0, 0, 0))
    ]
    left, top = (min((point[axis] for point in known), default=0.0) for axis in (0, 1))
    width, height = (max((point[axis] for point in known), default=0.0) - edge for axis, edge in ((0, left), (1, top)))
    return {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "keypoints": keypoints,
        "num_keypoints": len(known),
        "score": sum(view["confidence"]) / len(view["confidence"]),
        "bbox": [left, top, width, height],
        "area": width * height,
        "iscrowd": 0,
    }
