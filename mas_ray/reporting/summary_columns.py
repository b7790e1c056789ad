"""How the figures of a summary, and the handlings of left and right, are headed wherever they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SUMMARY_COLUMNS: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "percent_of_crop": ("2D %", 2),
        "trunk_percent": ("trunk", 2),
        "legs_percent": ("legs", 2),
        "arms_percent": ("arms", 2),
        "mpjpe_mm": ("MPJPE", 1),
        "p_mpjpe_mm": ("P-MPJPE", 1),
        "monocular_mpjpe_mm": ("1-view MPJPE", 1),
        "monocular_p_mpjpe_mm": ("1-view P-MPJPE", 1),
    }
)
"""Per field of ``evaluation.summary.Summary`` its heading and decimals."""
HANDLING_NAMES: Mapping[str, str] = MappingProxyType(
    {"raw": "raw", "global_bit": "global bit", "oracle_pose": "oracle"}
)
"""Per handling of ``evaluation.left_right`` its name."""
